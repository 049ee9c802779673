export { echoPortDriver } from './driver/echo-port-driver.ts';
export { ECHO_DEVICES, type GuestEchoDevice } from './guest-device.ts';
export { devices, echoPlugin } from './plugin.ts';
export { ECHO_INTERFACE_ID, ECHO_MAX_BYTES, EchoHeader, EchoStatus } from './protocol/echo.ts';
export { echoVsc } from './vsc/echo-vsc.ts';
