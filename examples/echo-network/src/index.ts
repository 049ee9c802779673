export { answerTo } from './answer.ts';
export { connectEcho, type EchoNetworkServices, echoNetworkPlugin } from './echo-network.ts';
export { parseSubnet, type Subnet, stationMac } from './subnet.ts';
