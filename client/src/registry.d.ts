/** What a server's message types and topics are; `jackfield types --typescript` fills it in. */

import type { RequestOptions, Stream } from "./requests.js";

/**
 * Message types, by name: `{ payload, reply, chunk? }` each.
 *
 *     declare module "jackfield" {
 *       interface Requests {
 *         "chat.send": { payload: { room: string; text: string }; reply: { offset: number } };
 *       }
 *     }
 */
export interface Requests {}

/**
 * The payloads of events, by topic.
 *
 *     declare module "jackfield" {
 *       interface Topics {
 *         [topic: `room:${string}`]: { nick: string; text: string };
 *       }
 *     }
 */
export interface Topics {}

/** A known message type, or any other. */
export type RequestType = keyof Requests | (string & {});

type Loose = Record<string, any>;
type Part<Type, Name extends string, Unknown> = Type extends keyof Requests
  ? Requests[Type] extends { [name in Name]: infer Known }
    ? Known
    : Unknown
  : Unknown;

export type PayloadOf<Type> = Part<Type, "payload", Loose>;
export type ReplyOf<Type> = Part<Type, "reply", any>;
export type ChunkOf<Type> = Part<Type, "chunk", any>;
export type EventOf<Topic> = Topic extends keyof Topics ? Topics[Topic] : any;

/** A payload may be left out where nothing in it is required. */
type Asked<Type> =
  {} extends PayloadOf<Type>
    ? [payload?: PayloadOf<Type> | null, options?: RequestOptions]
    : [payload: PayloadOf<Type>, options?: RequestOptions];

export type Ask = <Type extends RequestType>(type: Type, ...asked: Asked<Type>) => Promise<ReplyOf<Type>>;
export type AskForStream = <Type extends RequestType>(
  type: Type,
  ...asked: Asked<Type>
) => Stream<ChunkOf<Type>, ReplyOf<Type>>;
