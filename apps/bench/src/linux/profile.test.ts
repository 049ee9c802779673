import { expect, it } from 'vitest';
import { GuestMap, profileOf } from './profile.ts';

const MODULES = [
  'hv_storvsc 28672 1 - Live 0xffffffffc0010000',
  'scsi_mod 286720 3 hv_storvsc,sd_mod, Live 0xffffffffc0100000',
  '',
].join('\n');

it('a guest map tells programs, kernel and modules', () => {
  const map = new GuestMap(MODULES);
  expect(map.placeOf(0x7f12_3456_7000n)).toBe('programs');
  expect(map.placeOf(0xffff_ffff_8100_0000n)).toBe('kernel');
  expect(map.placeOf(0xffff_ffff_c001_0000n)).toBe('hv_storvsc');
  expect(map.placeOf(0xffff_ffff_c001_6fffn)).toBe('hv_storvsc');
  expect(map.placeOf(0xffff_ffff_c001_7000n)).toBe('kernel');
});

it('a profile has shares, from the largest', () => {
  const profile = profileOf(['programs', 'kernel', 'hv_storvsc', 'kernel']);
  expect(Object.entries(profile)).toEqual([
    ['kernel', 0.5],
    ['programs', 0.25],
    ['hv_storvsc', 0.25],
  ]);
});
