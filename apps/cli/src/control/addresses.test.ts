import { describe, expect, it } from 'vitest';
import { checkIp, interfaceAddressText, parseInterfaceAddress } from './addresses.ts';

describe('addresses of interfaces', () => {
  it.each([
    ['10.0.0.5/24', { address: '10.0.0.5', subnet: '255.255.255.0', family: 1 }],
    ['10.0.0.5/255.255.128.0', { address: '10.0.0.5', subnet: '255.255.128.0', family: 1 }],
    ['10.0.0.5/32', { address: '10.0.0.5', subnet: '255.255.255.255', family: 1 }],
    ['10.0.0.5/0', { address: '10.0.0.5', subnet: '0.0.0.0', family: 1 }],
    ['fd00::5/64', { address: 'fd00::5', subnet: '64', family: 2 }],
  ])('takes %s apart', (text, parsed) => {
    expect(parseInterfaceAddress(text)).toEqual(parsed);
  });

  it.each([
    ...['', '10.0.0.5', '10.0.0.5/', '10.0.0.5/33', '10.0.0.5/255.0.255.0', '10.0.0/24', '10.0.0.5/24/8'],
    ...['fd00::5/129', 'fd00::5/255.255.255.0', 'fe80::1%eth0/64', '10.0.0.5;10.0.0.6/24', 'a/24'],
  ])('refuses %o', (text) => {
    expect(() => parseInterfaceAddress(text)).toThrow(/is no address of an interface: write it as/);
  });

  it('knows an IP address', () => {
    expect(['10.0.2.2', 'fd00::1'].map(checkIp)).toEqual(['10.0.2.2', 'fd00::1']);
    for (const text of ['10.0.2', 'fe80::1%eth0', '10.0.2.2;10.0.2.3', '']) {
      expect(() => checkIp(text)).toThrow('is no IP address');
    }
  });

  it('writes what a guest says', () => {
    const texts = [
      interfaceAddressText('10.0.0.5', '255.255.255.0'),
      interfaceAddressText('10.0.0.5', '255.0.255.0'),
      interfaceAddressText('fd00::5', '/64'),
      interfaceAddressText('fd00::5', '64'),
      interfaceAddressText('10.0.0.5', undefined),
    ];
    expect(texts).toEqual(['10.0.0.5/24', '10.0.0.5/255.0.255.0', 'fd00::5/64', 'fd00::5/64', '10.0.0.5']);
  });
});
