// A VMS gateway on Node that asks through OpenFeature.
//
//   node gateway.mjs PORT LICENSE_CLIENT_URL

import http from 'node:http';

import { OFREPProvider } from '@openfeature/ofrep-provider';
import { ErrorCode, OpenFeature } from '@openfeature/server-sdk';

const [port, baseUrl] = process.argv.slice(2);

const features = {
  '/map': 'module.map_view',
  '/alarms': 'module.alarm_advanced',
  '/live': 'module.live_view',
  '/nope': 'module.nope',
};

// The provider has no time-out of its own, and wants no slash at the end.
const fetchImplementation = (request) => fetch(request, { signal: AbortSignal.timeout(2000) });
const provider = new OFREPProvider({ baseUrl: baseUrl.replace(/\/+$/, ''), fetchImplementation });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://gateway');
  if (pathname === '/limits') {
    return answer(response, 200, { cameras: await client.getNumberValue('limit.cameras', 0) });
  }
  const prefix = Object.keys(features).find((it) => pathname === it || pathname.startsWith(`${it}/`));
  if (prefix) {
    const feature = features[prefix];
    const decided = await client.getBooleanDetails(feature, false);
    if (!decided.value && decided.errorCode && decided.errorCode !== ErrorCode.FLAG_NOT_FOUND) {
      return answer(response, 503, { detail: 'The license cannot be checked right now' });
    }
    if (!decided.value) {
      const reason = decided.flagMetadata.reason ?? 'not_in_license';
      return answer(response, 403, { detail: 'Not licensed', reason, feature });
    }
  }
  return answer(response, 200, { page: pathname });
});
server.listen(Number(port), '127.0.0.1');
