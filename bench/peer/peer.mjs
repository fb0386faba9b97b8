// SPDX-License-Identifier: MIT
// The peer of the benchmark: a message gateway as one writes it with Express, ws and DBOS, configured
// as a production user would (pool of 20, log level error). Three steps for each message; like its
// model it stores the message and routes it to nobody.
//
//   PEER_DATABASE_URL  a PostgreSQL of its own database, without a transaction pooler
//   PEER_PORT          HTTP and WebSocket, on loopback

import http from 'node:http';
import { DBOS } from '@dbos-inc/dbos-sdk';
import express from 'express';
import { WebSocketServer } from 'ws';

function validate(message) {
  if (!message?.to || !message.from || message.content === undefined) {
    throw new Error('from, to and content are required');
  }
  return { valid: true };
}

const store = (message) => ({ messageId: message.id, stored: true });

const route = (message) => ({ messageId: message.id, routedTo: message.to });

const routeAgentMessage = DBOS.registerWorkflow(
  async (message) => {
    await DBOS.runStep(async () => validate(message), { name: 'validateMessage' });
    await DBOS.runStep(async () => store(message), { name: 'storeMessage' });
    await DBOS.runStep(async () => route(message), { name: 'routeMessage' });
    return {
      messageId: message.id,
      status: 'delivered',
      deliveryAttempts: 1,
      lastAttemptTime: new Date().toISOString(),
    };
  },
  { name: 'routeAgentMessage' },
);

async function send(message) {
  const id = message.id ?? crypto.randomUUID();
  const handle = await DBOS.startWorkflow(routeAgentMessage, { workflowID: id })({ ...message, id });
  return { workflowUuid: id, result: await handle.getResult() };
}

const app = express();
app.use(express.json({ limit: '1mb' }));
app.get('/health', (_request, response) => response.json({ status: 'healthy' }));
app.post('/messages', async (request, response) => {
  try {
    response.json({ success: true, ...(await send({ from: 'alice', ...request.body })) });
  } catch (error) {
    response.status(500).json({ success: false, error: String(error) });
  }
});

const server = http.createServer(app);
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', async (data) => {
    try {
      const { workflowUuid, result } = await send(JSON.parse(data.toString()));
      socket.send(JSON.stringify({ type: 'workflow_result', workflowUUID: workflowUuid, result }));
    } catch (error) {
      socket.send(JSON.stringify({ type: 'error', error: String(error) }));
    }
  });
});

DBOS.setConfig({
  name: 'bench-peer',
  systemDatabaseUrl: process.env.PEER_DATABASE_URL,
  systemDatabasePoolSize: 20,
  logLevel: 'error',
});
await DBOS.launch();
server.listen(Number(process.env.PEER_PORT), '127.0.0.1', () => console.log('ready'));
