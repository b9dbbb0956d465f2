// A VMS gateway on Node that asks the License Client through OpenFeature.
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

// The provider has no timeout, and its base URL must not end with a slash.
const fetchImplementation = (request) => fetch(request, { signal: AbortSignal.timeout(2000) });
const provider = new OFREPProvider({ baseUrl: baseUrl.replace(/\/+$/, ''), fetchImplementation });
await OpenFeature.setProviderAndWait(provider);
const client = OpenFeature.getClient();

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

// The feature that a path needs. Legitimate clients send only plain paths.
function featureOf(path) {
  if (!/^(\/[\w.~%+@:,=-]+)*\/?$/.test(path) || /%2f|%5c|%25|\/\.\.?(\/|$)/i.test(path)) return undefined;
  const plain = decodeURIComponent(path).toLowerCase();
  const prefix = Object.keys(features).find((it) => plain === it || plain.startsWith(`${it}/`));
  return prefix ? features[prefix] : null;
}

async function gate(request, response) {
  const path = request.url.split('?')[0];
  if (path === '/limits') {
    return answer(response, 200, { cameras: await client.getNumberValue('limit.cameras', 0) });
  }
  const feature = featureOf(path);
  if (feature === undefined) return answer(response, 400, { detail: 'The path cannot be read' });
  if (feature) {
    const decided = await client.getBooleanDetails(feature, false);
    if (!decided.value && decided.errorCode && decided.errorCode !== ErrorCode.FLAG_NOT_FOUND) {
      return answer(response, 503, { detail: 'The license cannot be checked right now' });
    }
    if (!decided.value) {
      const reason = decided.flagMetadata.reason ?? 'not_in_license';
      return answer(response, 403, { detail: 'Not licensed', reason, feature });
    }
  }
  return answer(response, 200, { page: path });
}

const server = http.createServer((request, response) => {
  gate(request, response).catch(() => answer(response, 400, { detail: 'The request cannot be read' }));
});
server.listen(Number(port), '127.0.0.1');
