// Node's ws: it parses the JSON, validates nothing, and answers with the payload as it came. A room
// is a set of sockets. What is published is made one buffer, once, and sent to each of them.
import { WebSocket, WebSocketServer } from "ws";

const TEXT = { binary: false };

const rooms = new Map();

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 }, () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

function join(socket, name) {
  const members = rooms.get(name) ?? new Set();
  rooms.set(name, members.add(socket));
  socket.once("close", () => {
    members.delete(socket);
    if (members.size === 0) rooms.delete(name);
  });
}

function publish(payload) {
  const event = Buffer.from(JSON.stringify({ type: "event", payload }));
  for (const member of rooms.get(payload.room) ?? []) {
    if (member.readyState === WebSocket.OPEN) member.send(event, TEXT);
  }
}

server.on("connection", (socket) => {
  socket.on("message", (data) => {
    const { type, id, payload } = JSON.parse(data);
    if (type === "benchmark.publish") {
      publish(payload);
      return;
    }
    if (type === "benchmark.join") join(socket, payload.room);
    socket.send(JSON.stringify({ type: "reply", id, payload }));
  });
});
