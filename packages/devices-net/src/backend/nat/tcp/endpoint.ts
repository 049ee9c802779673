import type { TimerQueue } from '@kensho/core';
import { Congestion } from './congestion.ts';
import { Deadlines, NEVER } from './deadlines.ts';
import { ReceiveWindow } from './receive-window.ts';
import { RetransmissionTimeout } from './round-trip.ts';
import { Flag, type Segment, synOptions } from './segment.ts';
import { SendBuffer } from './send-buffer.ts';
import { advance, distance } from './sequence.ts';

/** What an endpoint tells its owner. */
export interface TcpEvents {
  established(): void;
  /** Bytes in order. They count against the window until {@link TcpEndpoint.consumed}. */
  data(bytes: Uint8Array): void;
  /** The other side will send nothing more. */
  ended(): void;
  /** The send buffer has room again after it was above its mark. */
  writable(): void;
  /** It is over: in good order, or because the other side reset it or no longer answers. Nothing comes after it. */
  closed(how: 'ended' | 'reset' | 'timeout'): void;
}

/** What carries an endpoint's segments. */
export interface TcpLink {
  readonly timers: TimerQueue;
  /** Longest payload that the link cuts into segments itself; 0 where it does not. */
  readonly maxPayloadBytes: number;
  /** How many received bytes the endpoint may hold now. */
  readonly receiveLimitBytes: number;
  /** Whether a segment would find room now. Where not, {@link TcpEndpoint.flush} is called when it would. */
  hasRoom(): boolean;
  /** Asks for one call of {@link TcpEndpoint.flush} after what is being received now. */
  scheduleFlush(): void;
  /** Something is sent that was sent before. */
  retransmitted(): void;
  /**
   * Sends a segment with `length` bytes of the endpoint's send buffer from `offset` on; longer than a segment of the
   * other side's only where {@link maxPayloadBytes} says so.
   */
  transmit(
    flags: number,
    sequence: number,
    acknowledgement: number,
    window: number,
    options: Uint8Array | undefined,
    offset: number,
    length: number,
  ): void;
}

export interface TcpEndpointOptions {
  /** Largest segment that this side takes. */
  readonly maxSegmentBytes: number;
  /** 32 random bits. */
  readonly initialSequence: number;
  /** After how long without a segment from the other side the connection is given up. */
  readonly idleTimeoutNs: number;
}

/** Of a SYN without the option (RFC 9293, 3.7.1). */
const DEFAULT_SEGMENT_BYTES = 536;
const MIN_SEGMENT_BYTES = 64;
/** Windows of up to 2 MiB. */
const WINDOW_SCALE = 5;
/** Pieces to send beyond which there is enough, however small they are. */
const MAX_CHUNKS = 1024;
const MAX_SYN_TRIES = 6;
const MAX_TRIES = 12;
/**
 * What is on the wire is gone sooner, but the other side may have lost the last acknowledgement and ask again only when
 * its time-out is over, which has doubled with each loss.
 */
const TIME_WAIT_NS = 60e9;
/** Answers to segments without data that make no sense (RFC 5961, 7): two sides could answer each other for ever. */
const CHALLENGES_PER_SECOND = 10;

/**
 * One side of a TCP connection (RFC 9293), the side that stands for somebody else: it carries bytes between segments
 * and an owner. Retransmission by time-out and by duplicate acknowledgements, NewReno, window scaling, probes of
 * closed windows, reassembly out of order within the window. Selective acknowledgements and timestamps are not
 * offered: the wire is short.
 */
export class TcpEndpoint {
  readonly sendBuffer = new SendBuffer();
  readonly #link: TcpLink;
  readonly #events: TcpEvents;
  readonly #options: TcpEndpointOptions;
  readonly #timeout = new RetransmissionTimeout();
  readonly #receiving = new ReceiveWindow();
  readonly #deadlines: Deadlines;
  #congestion: Congestion;
  /** `listening`: a SYN has come and is not answered yet. */
  #state: 'listening' | 'syn-received' | 'syn-sent' | 'open' | 'time-wait' | 'closed' = 'listening';

  /** Oldest number that is not acknowledged; number of the send buffer's first byte, once open. */
  #sendUnacked: number;
  #sendNext: number;
  /**
   * The highest `sendNext` there ever was: after a time-out that one goes back. What has no payload of its own carries
   * this one, as the peer takes what lies before its window for old, acknowledgement and all (RFC 9293, 3.10.7.4).
   */
  #sendHighest: number;
  #sendWindow = 0;
  #windowSequence = 0;
  #windowAcknowledgement = 0;
  #sendScale = 0;
  #segmentBytes = DEFAULT_SEGMENT_BYTES;
  /** Where {@link TcpEvents.writable} is owed. */
  #writableBelowBytes: number | undefined;
  #finQueued = false;
  #finAcknowledged = false;

  /** Number of the other side's FIN, once it is known. */
  #finSequence: number | undefined;
  #remoteEnded = false;
  /** This side's FIN followed on the other's. */
  #endedAfterOther = false;
  #ackOwed = false;

  /** Measures the round trip of the segment that ends here. */
  #timedSequence: number | undefined;
  #timedSinceNs = 0;
  #tries = 0;
  #challenges = 0;
  #challengesSinceNs = 0;

  constructor(link: TcpLink, events: TcpEvents, options: TcpEndpointOptions) {
    this.#link = link;
    this.#events = events;
    this.#options = options;
    this.#sendUnacked = options.initialSequence;
    this.#sendNext = options.initialSequence;
    this.#sendHighest = options.initialSequence;
    this.#congestion = new Congestion(DEFAULT_SEGMENT_BYTES);
    const expiryNs = link.timers.clock.nowNs() + options.idleTimeoutNs;
    this.#deadlines = new Deadlines(link.timers, expiryNs, () => this.#onTimer());
  }

  /** The other side's segment size, which is that of segments with data. */
  get segmentBytes(): number {
    return this.#segmentBytes;
  }

  /** Received bytes that are held here or at the owner. */
  get unconsumedBytes(): number {
    return this.#receiving.unconsumedBytes;
  }

  get isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** Whether all is done, and it only stays to acknowledge once more what the other side may send again. */
  get isWaiting(): boolean {
    return this.#state === 'time-wait';
  }

  /** Whether it only waits, and gives way to a SYN with that number. */
  givesWayTo(sequence: number): boolean {
    return this.isWaiting && distance(sequence, this.#receiving.next) > 0;
  }

  /** Takes a SYN, to be answered by {@link accept} or {@link refuse}. */
  listen(syn: Segment): void {
    this.#receiving.begin(syn.sequence);
    this.#takeOptions(syn);
    this.#sendWindow = syn.window;
    this.#windowSequence = syn.sequence;
    this.#arm();
  }

  /** Answers the SYN. */
  accept(): void {
    if (this.#state !== 'listening') return;
    this.#state = 'syn-received';
    this.#sendSyn();
  }

  /** Begins a connection. */
  open(): void {
    this.#state = 'syn-sent';
    this.#receiving.scale = WINDOW_SCALE;
    this.#sendSyn();
  }

  /**
   * Queues bytes to send; they belong to the endpoint.
   *
   * @param markBytes - how much is enough for now
   * @returns false where there is enough; {@link TcpEvents.writable} follows when half of it is gone
   */
  write(bytes: Uint8Array, markBytes: number): boolean {
    if (this.#state === 'closed' || this.#finQueued) return true;
    this.sendBuffer.push(bytes);
    this.#link.scheduleFlush();
    const enough = this.sendBuffer.length >= markBytes || this.sendBuffer.chunkCount >= MAX_CHUNKS;
    if (enough && this.#writableBelowBytes === undefined)
      this.#writableBelowBytes = this.sendBuffer.length / 2;
    return this.#writableBelowBytes === undefined;
  }

  /** Nothing more will be written. */
  end(): void {
    if (this.#finQueued || this.#state === 'closed') return;
    this.#finQueued = true;
    this.#link.scheduleFlush();
  }

  /** The owner is done with bytes that it was given. */
  consumed(count: number): void {
    const { maxSegmentBytes } = this.#options;
    const worthTelling = this.#receiving.consumed(count, this.#link.receiveLimitBytes, maxSegmentBytes);
    if (worthTelling && this.#state === 'open' && !this.#remoteEnded) this.#oweAck();
  }

  /** Ends the connection at once, and tells the other side. No event follows. */
  abort(): void {
    if (this.#state !== 'closed') {
      const flags = this.#state === 'syn-sent' ? Flag.RST : Flag.RST | Flag.ACK;
      this.#transmit(flags, this.#sendHighest, undefined, 0, 0);
    }
    this.#drop();
  }

  /** Ends the connection without a word. No event follows. */
  discard(): void {
    this.#drop();
  }

  /** Takes a segment of this connection. */
  receive(segment: Segment): void {
    switch (this.#state) {
      case 'closed':
        return;
      case 'listening':
        if (segment.has(Flag.RST) && segment.sequence === this.#receiving.next) this.#close('reset');
        return;
      case 'syn-sent':
        this.#receiveInSynSent(segment);
        break;
      default:
        this.#receiveSynchronized(segment);
    }
    this.#arm();
  }

  /** Sends what can be sent, and the acknowledgement that is owed. */
  flush(): void {
    if (this.#state === 'open') this.#sendData();
    if (this.#ackOwed && this.#state !== 'closed') this.#sendAck();
    this.#arm();
  }

  #receiveInSynSent(segment: Segment): void {
    const acknowledges = segment.has(Flag.ACK);
    const right = acknowledges && segment.acknowledgement === this.#sendHighest;
    if (acknowledges && !right) {
      if (!segment.has(Flag.RST)) this.#transmit(Flag.RST, segment.acknowledgement, undefined, 0, 0);
      return;
    }
    if (segment.has(Flag.RST)) {
      if (right) this.#close('reset');
      return;
    }
    // A SYN without an acknowledgement would be a simultaneous opening, which nobody behind a NAT can mean.
    if (!right || !segment.has(Flag.SYN)) return;
    this.#receiving.begin(segment.sequence);
    this.#takeOptions(segment);
    this.#windowSequence = segment.sequence;
    this.#windowAcknowledgement = segment.acknowledgement;
    this.#sendWindow = segment.window;
    this.#becomeOpen();
    this.#oweAck();
  }

  #receiveSynchronized(segment: Segment): void {
    if (!this.#receiving.accepts(segment)) {
      if (segment.has(Flag.RST)) return;
      // The SYN of a SYN-ACK that was lost, or a segment that was acknowledged and is sent again.
      if (this.#state === 'syn-received') this.#sendSyn();
      else if (segment.length > 0) this.#sendAck();
      else this.#challenge();
      // The other side's end once more, since an acknowledgement was lost: this one may be, too.
      if (this.isWaiting && segment.has(Flag.FIN)) this.#deadlines.expiryNs = this.#now() + TIME_WAIT_NS;
      return;
    }
    if (segment.has(Flag.RST)) {
      if (segment.sequence === this.#receiving.next) this.#close('reset');
      else this.#challenge();
      return;
    }
    if (segment.has(Flag.SYN)) {
      this.#challenge();
      return;
    }
    if (!segment.has(Flag.ACK)) return;
    this.#deadlines.expiryNs =
      this.#now() + (this.#state === 'time-wait' ? TIME_WAIT_NS : this.#options.idleTimeoutNs);
    if (this.#state === 'syn-received') {
      if (segment.acknowledgement !== this.#sendHighest) {
        this.#transmit(Flag.RST, segment.acknowledgement, undefined, 0, 0);
        return;
      }
      this.#becomeOpen();
    }
    if (!this.#takeAcknowledgement(segment)) return;
    this.#takeData(segment);
  }

  /** @returns whether the segment's data is to be looked at */
  #takeAcknowledgement(segment: Segment): boolean {
    const { acknowledgement } = segment;
    if (distance(acknowledgement, this.#sendHighest) > 0) {
      this.#challenge();
      return false;
    }
    const acked = distance(acknowledgement, this.#sendUnacked);
    this.#tries = 0;
    if (acked > 0) this.#advanceTo(acknowledgement, acked);
    else if (acked === 0) this.#takeDuplicate(segment);
    // Window updates in order (RFC 9293, 3.10.7.4).
    const ahead = distance(segment.sequence, this.#windowSequence);
    const fresh = ahead > 0 || (ahead === 0 && distance(acknowledgement, this.#windowAcknowledgement) >= 0);
    if (acked >= 0 && fresh) {
      this.#sendWindow = segment.window << this.#sendScale;
      this.#windowSequence = segment.sequence;
      this.#windowAcknowledgement = acknowledgement;
      if (this.#sendWindow > 0) this.#deadlines.probeNs = NEVER;
    }
    this.#link.scheduleFlush();
    return !this.isClosed;
  }

  #advanceTo(acknowledgement: number, acked: number): void {
    const { recoverTo } = this.#congestion;
    const data = Math.min(acked, this.sendBuffer.length);
    if (acked > data) this.#finAcknowledged = true;
    this.sendBuffer.release(data);
    this.#sendUnacked = acknowledgement;
    if (distance(this.#sendNext, acknowledgement) < 0) this.#sendNext = acknowledgement;
    this.#timeout.relax();
    if (this.#timedSequence !== undefined && distance(acknowledgement, this.#timedSequence) >= 0) {
      this.#timeout.sample(this.#now() - this.#timedSinceNs);
      this.#timedSequence = undefined;
    }
    if (recoverTo === undefined) {
      this.#congestion.onProgress(acked);
    } else if (distance(acknowledgement, recoverTo) >= 0) {
      this.#congestion.onRecovered();
    } else {
      this.#congestion.onPartial(acked);
      this.#resendOldest();
    }
    this.#deadlines.retransmitNs =
      this.#sendUnacked === this.#sendHighest ? NEVER : this.#now() + this.#timeout.ns;
    if (this.#writableBelowBytes !== undefined && this.sendBuffer.length <= this.#writableBelowBytes) {
      this.#writableBelowBytes = undefined;
      this.#events.writable();
    }
    if (this.#finAcknowledged && this.#remoteEnded) this.#finish();
  }

  #takeDuplicate(segment: Segment): void {
    const inFlight = distance(this.#sendNext, this.#sendUnacked);
    const window = segment.window << this.#sendScale;
    if (segment.length > 0 || inFlight === 0 || window !== this.#sendWindow || window === 0) return;
    if (this.#congestion.onDuplicate(inFlight, this.#sendHighest)) this.#resendOldest();
  }

  #takeData(segment: Segment): void {
    if (this.#remoteEnded) return;
    const { payload, sequence } = segment;
    const receiving = this.#receiving;
    if (segment.has(Flag.FIN)) this.#finSequence = advance(sequence, payload.length);
    const { hasGap } = receiving;
    const inOrder = receiving.take(segment, this.#deliver);
    if (this.isClosed) return;
    // At once and for each that came too early: three of them tell the other side what was lost.
    if (segment.length > 0 && (!inOrder || hasGap)) this.#sendAck();
    else if (payload.length > 0) this.#oweAck();
    if (this.#finSequence === receiving.next) this.#takeFin();
  }

  readonly #deliver = (bytes: Uint8Array): void => this.#events.data(bytes);

  #takeFin(): void {
    this.#remoteEnded = true;
    this.#receiving.takeFin();
    this.#sendAck();
    this.#events.ended();
    if (this.#finAcknowledged) this.#finish();
  }

  /** Both sides have ended, and know it. */
  #finish(): void {
    if (this.#state !== 'open') return;
    // Whoever ended first waits, since its last acknowledgement may be lost.
    if (this.#endedAfterOther) {
      this.#close('ended');
      return;
    }
    this.#state = 'time-wait';
    this.#deadlines.retransmitNs = NEVER;
    this.#deadlines.probeNs = NEVER;
    this.#deadlines.expiryNs = this.#now() + TIME_WAIT_NS;
  }

  #becomeOpen(): void {
    this.#state = 'open';
    this.#sendUnacked = this.#sendHighest;
    this.#sendNext = this.#sendHighest;
    this.#deadlines.retransmitNs = NEVER;
    if (this.#tries === 1) this.#timeout.sample(this.#now() - this.#timedSinceNs);
    this.#timeout.relax();
    this.#tries = 0;
    this.#congestion = new Congestion(this.#segmentBytes);
    this.#deadlines.expiryNs = this.#now() + this.#options.idleTimeoutNs;
    this.#events.established();
    this.#link.scheduleFlush();
  }

  #takeOptions(syn: Segment): void {
    const theirs = syn.maxSegmentBytes ?? DEFAULT_SEGMENT_BYTES;
    this.#segmentBytes = Math.max(MIN_SEGMENT_BYTES, Math.min(theirs, this.#options.maxSegmentBytes));
    const scales = syn.windowScale !== undefined;
    this.#sendScale = syn.windowScale ?? 0;
    this.#receiving.scale = scales ? WINDOW_SCALE : 0;
  }

  #sendSyn(): void {
    const { initialSequence, maxSegmentBytes } = this.#options;
    const answers = this.#state === 'syn-received';
    const scale = !answers || this.#receiving.scale > 0 ? WINDOW_SCALE : undefined;
    if (this.#tries === 0) this.#timedSinceNs = this.#now();
    this.#tries++;
    this.#sendNext = advance(initialSequence, 1);
    this.#sendHighest = this.#sendNext;
    const flags = answers ? Flag.SYN | Flag.ACK : Flag.SYN;
    this.#transmit(flags, initialSequence, synOptions(maxSegmentBytes, scale), 0, 0);
    this.#deadlines.retransmitNs = this.#now() + this.#timeout.ns;
    this.#arm();
  }

  #sendData(): void {
    for (;;) {
      const inFlight = distance(this.#sendNext, this.#sendUnacked);
      const available = this.sendBuffer.length - inFlight;
      const finNow = this.#finQueued && !this.#finAcknowledged && available === 0;
      if (available < 0 || (available === 0 && !finNow)) return;
      const usable = Math.min(this.#sendWindow, this.#congestion.window) - inFlight;
      let length = Math.min(available, usable, Math.max(this.#segmentBytes, this.#link.maxPayloadBytes));
      if (!finNow) {
        if (length <= 0) break;
        if (length < available) {
          // Whole segments only, unless nothing else keeps the connection going (RFC 9293, 3.8.6.2.1).
          if (length > this.#segmentBytes) length -= length % this.#segmentBytes;
          else if (length < this.#segmentBytes && inFlight > 0) break;
        }
      }
      if (!this.#link.hasRoom()) return;
      this.#sendAt(inFlight, Math.max(0, length));
    }
    const stuck = this.#sendWindow === 0 && this.#sendNext === this.#sendUnacked;
    if (stuck && this.#deadlines.probeNs === NEVER) this.#deadlines.probeNs = this.#now() + this.#timeout.ns;
  }

  /** Sends bytes of the buffer, with the FIN if that follows, and notes that they are in flight. */
  #sendAt(offset: number, length: number): void {
    const fin = this.#finQueued && offset + length === this.sendBuffer.length;
    const sequence = advance(this.#sendUnacked, offset);
    const last = offset + length === this.sendBuffer.length;
    const flags = Flag.ACK | (fin ? Flag.FIN : 0) | (last && length > 0 ? Flag.PSH : 0);
    this.#transmit(flags, sequence, undefined, offset, length);
    const next = advance(sequence, length + (fin ? 1 : 0));
    const isNew = distance(next, this.#sendHighest) > 0;
    if (distance(next, this.#sendNext) > 0) this.#sendNext = next;
    if (isNew) {
      this.#sendHighest = next;
      if (fin) this.#endedAfterOther = this.#remoteEnded;
      if (this.#timedSequence === undefined) {
        this.#timedSequence = next;
        this.#timedSinceNs = this.#now();
      }
    } else {
      this.#link.retransmitted();
      // What was sent twice tells nothing about the round trip (Karn's rule).
      this.#timedSequence = undefined;
    }
    if (this.#deadlines.retransmitNs === NEVER) this.#deadlines.retransmitNs = this.#now() + this.#timeout.ns;
  }

  #resendOldest(): void {
    this.#sendAt(0, Math.min(this.sendBuffer.length, this.#segmentBytes));
    this.#deadlines.retransmitNs = this.#now() + this.#timeout.ns;
  }

  #sendAck(): void {
    this.#transmit(Flag.ACK, this.#sendHighest, undefined, 0, 0);
  }

  #oweAck(): void {
    this.#ackOwed = true;
    this.#link.scheduleFlush();
  }

  /** Says where this side is, to somebody who may be forging; not more often than that makes sense. */
  #challenge(): void {
    const nowNs = this.#now();
    if (nowNs - this.#challengesSinceNs >= 1e9) {
      this.#challengesSinceNs = nowNs;
      this.#challenges = 0;
    }
    if (this.#challenges++ < CHALLENGES_PER_SECOND) this.#sendAck();
  }

  #transmit(
    flags: number,
    sequence: number,
    options: Uint8Array | undefined,
    offset: number,
    length: number,
  ): void {
    const window =
      (flags & Flag.RST) !== 0
        ? 0
        : this.#receiving.offer(
            (flags & Flag.SYN) !== 0,
            this.#link.receiveLimitBytes,
            this.#options.maxSegmentBytes,
          );
    this.#ackOwed = false;
    const acknowledgement = (flags & Flag.ACK) !== 0 ? this.#receiving.next : 0;
    this.#link.transmit(flags, sequence, acknowledgement, window, options, offset, length);
  }

  #onTimer(): void {
    const nowNs = this.#now();
    if (nowNs >= this.#deadlines.expiryNs) {
      if (this.#state === 'time-wait') this.#close('ended');
      else this.#giveUp();
    } else if (nowNs >= this.#deadlines.retransmitNs) {
      this.#onRetransmit();
    } else if (nowNs >= this.#deadlines.probeNs) {
      this.#onProbe();
    }
    this.#arm();
  }

  #onRetransmit(): void {
    const opening = this.#state !== 'open';
    this.#timeout.double();
    if (opening ? this.#tries >= MAX_SYN_TRIES : ++this.#tries > MAX_TRIES) {
      this.#giveUp();
      return;
    }
    if (opening) {
      this.#sendSyn();
      return;
    }
    this.#congestion.onTimeout(distance(this.#sendNext, this.#sendUnacked));
    this.#sendNext = this.#sendUnacked;
    this.#timedSequence = undefined;
    this.#deadlines.retransmitNs = NEVER;
    this.flush();
  }

  /** The other side's window is closed: one byte asks whether it still is (RFC 9293, 3.8.6.1). */
  #onProbe(): void {
    if (++this.#tries > MAX_TRIES) {
      this.#giveUp();
      return;
    }
    this.#timeout.double();
    this.#deadlines.probeNs = this.#now() + this.#timeout.ns;
    if (this.sendBuffer.length === 0) {
      this.#sendAck();
      return;
    }
    this.#transmit(Flag.ACK, this.#sendUnacked, undefined, 0, 1);
    const next = advance(this.#sendUnacked, 1);
    if (distance(next, this.#sendHighest) > 0) this.#sendHighest = next;
  }

  #giveUp(): void {
    const { isClosed } = this;
    this.abort();
    if (!isClosed) this.#events.closed('timeout');
  }

  #close(how: 'ended' | 'reset'): void {
    if (this.isClosed) return;
    this.#drop();
    this.#events.closed(how);
  }

  #drop(): void {
    this.#state = 'closed';
    this.#ackOwed = false;
    this.sendBuffer.clear();
    this.#receiving.clear();
    this.#deadlines.cancel();
  }

  #arm(): void {
    if (!this.isClosed) this.#deadlines.arm();
  }

  #now(): number {
    return this.#link.timers.clock.nowNs();
  }
}
