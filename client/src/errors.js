/** The one error of this client: what the server answered with, or what kept it from answering. */

/**
 * One thing that is wrong with a payload.
 * @typedef {object} FieldError
 * @property {string} pointer a JSON Pointer (RFC 6901) to the value
 * @property {string} code what is wrong with it: `required`, `length`, …
 * @property {string} message the same for a person
 */

/**
 * An error object as it stands on the wire.
 * @typedef {object} WireError
 * @property {string} code
 * @property {string} [message]
 * @property {boolean} [retryable]
 * @property {FieldError[]} [fields]
 * @property {string | null} [incident]
 * @property {number} [retry_after] seconds
 */

export class JackfieldError extends Error {
  /**
   * @param {WireError & Record<string, any>} error the error object
   * @param {ErrorOptions} [options]
   */
  constructor(error, options) {
    const { code = "internal", message = code, retryable, fields, incident, retry_after, ...extra } = error ?? {};
    super(typeof message === "string" ? message : JSON.stringify(message), options);
    /** As of what `fetch` rejects with where it was aborted. */
    this.name = code === "cancelled" ? "AbortError" : "JackfieldError";
    /** What programs switch on: `invalid_payload`, `chat.room_full`. */
    this.code = code;
    /** Whether the same message may succeed later. */
    this.retryable = retryable ?? false;
    /** What is wrong with which value. */
    this.fields = Array.isArray(fields) ? fields : [];
    /** What the server's log calls it, if the fault is the server's. */
    this.incident = incident ?? null;
    /** Milliseconds to wait before the next attempt, if the server named them. */
    this.retryAfter = retry_after == null ? null : 1000 * retry_after;
    /** The other keys of the error, as they stand on the wire. */
    this.extra = /** @type {Record<string, any>} */ (extra);
  }

  /**
   * What is wrong with one value.
   * @param {string} name its name, a path of names (`items/0/text`), or a JSON Pointer
   * @returns {FieldError | undefined}
   */
  field(name) {
    return this.fields.find(({ pointer }) => pointer === name || pointer === `/${name}`);
  }
}

/**
 * An error that is this client's own.
 * @param {string} code
 * @param {string} message
 * @param {Record<string, any>} [more] its other keys
 * @param {unknown} [cause]
 */
export const failure = (code, message, more, cause) =>
  new JackfieldError({ code, message, ...more }, { cause });

/** Of what may succeed later. */
export const RETRYABLE = { retryable: true };

/**
 * Tell the console of a failure that nobody listens for.
 * @param {JackfieldError} error
 * @param {string} [about] what of the client it is; that the client itself ends is told once, for all of it
 */
export function complain({ code, message }, about = "") {
  if (!about || !/^(cancelled|connection_closed)$/.test(code)) console.warn(`Jackfield: ${about}${message} (${code})`);
}
