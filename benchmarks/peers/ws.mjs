// Node's ws: it parses the JSON, validates nothing, and answers with the payload as it came.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: 0 }, () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

server.on("connection", (socket) => {
  socket.on("message", (data) => {
    const { id, payload } = JSON.parse(data);
    socket.send(JSON.stringify({ type: "reply", id, payload }));
  });
});
