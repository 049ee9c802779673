import type { IoPortSpace, PortRegion } from '@kensho/core';

/**
 * Puts a device's regions into the port space, all of them or none.
 *
 * @returns takes them out again
 * @throws KenshoError PORTS_IN_USE
 */
export function claimPorts(ports: IoPortSpace, regions: readonly PortRegion[]): () => void {
  const claimed: PortRegion[] = [];
  const release = () => {
    for (const region of claimed.splice(0)) ports.remove(region);
  };
  try {
    for (const region of regions) {
      ports.add(region);
      claimed.push(region);
    }
  } catch (error) {
    release();
    throw error;
  }
  return release;
}
