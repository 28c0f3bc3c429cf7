// Node's socket.io, over WebSockets alone and without validation; with its Redis adapter if
// BENCHMARK_REDIS is the address of a Redis. Its client is ioredis: it is the quicker one here, and it
// keeps up, while that of the package `redis` takes commands faster than it sends them.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

if (process.env.BENCHMARK_REDIS) {
  const { pathname: path } = new URL(process.env.BENCHMARK_REDIS);
  const publisher = new Redis(path);
  io.adapter(createAdapter(publisher, publisher.duplicate()));
}

io.on("connection", (socket) => {
  socket.on("benchmark.join", async ({ room }, acknowledge) => {
    await socket.join(room);
    acknowledge({ room });
  });
  socket.on("benchmark.publish", (payload) => {
    io.to(payload.room).emit("event", payload);
  });
});

http.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${http.address().port}`);
});
