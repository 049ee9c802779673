/**
 * One Ethernet frame on its way: destination, source, type, payload, without preamble, VLAN tag and frame check
 * sequence. Whoever makes one gives its bytes away: nobody changes them afterwards, and anybody may keep them.
 */
export interface Frame {
  /** 14 bytes of header and at least nothing more; longer than the medium's MTU only with {@link offload}. */
  readonly bytes: Uint8Array;
  /** Tag control information of IEEE 802.1Q (priority, drop eligible, VLAN id), where the frame is tagged. */
  readonly vlanTag?: number;
  /** What the sender left to be done; absent for a frame that could go onto a wire as it is. */
  readonly offload?: FrameOffload;
}

/**
 * Work that the sender left to the hardware. Between adapters of one host nobody needs to do it; a port with a real
 * medium behind it does.
 */
export interface FrameOffload {
  /**
   * The layer-4 checksum is unfinished: its field at `fieldOffset` holds the sum over the pseudo header; to be added
   * is everything from `startOffset` to the frame's end. Offsets from the frame's first byte.
   */
  readonly checksum?: { readonly startOffset: number; readonly fieldOffset: number };
  /** The IPv4 header's checksum is left out, too. */
  readonly ipv4HeaderChecksum?: boolean;
  /**
   * A TCP segment to be cut into pieces of at most this many bytes of payload (large send offload). The lengths in its
   * IP header, and the sum in its checksum field, are those of the whole.
   */
  readonly segmentPayloadBytes?: number;
}

/** An adapter's end of the cable: what the network does to it. */
export interface NetworkAdapter {
  /** For counters and captures. */
  readonly name: string;
  /** 6 bytes. */
  readonly mac: Uint8Array;
  /**
   * Takes a frame, or answers false where it has no room now: then it says {@link NetworkPort.receiveReady} later,
   * and the port offers the frame again. Called from a task of the adapter's partition or of another one.
   */
  receive(frame: Frame): boolean;
  /** The cable was plugged or pulled. */
  linkChanged(up: boolean): void;
}

/** A network's end of the cable: what the adapter does to it. Nothing here throws for what a guest sent. */
export interface NetworkPort {
  readonly linkUp: boolean;
  /** Takes a frame towards the network. What cannot be carried is dropped and counted. */
  send(frame: Frame): void;
  /** There is room again after {@link NetworkAdapter.receive} answered false. Frames may come during the call. */
  receiveReady(): void;
  /** Pulls the cable for good. Frames that wait are dropped. */
  close(): void;
}

/** A socket of a network, into which one adapter is plugged: a switch's port, the way out by NAT, a capture. */
export interface NetworkConnector {
  /** @throws Error if an adapter is plugged in already */
  connect(adapter: NetworkAdapter): NetworkPort;
  /**
   * Gives the socket up, also where no adapter was ever plugged in: what it holds at the host is freed, and it is not
   * connected any more. Idempotent, also behind the port's close. Left out where it holds nothing by itself.
   */
  close?(): void;
}
