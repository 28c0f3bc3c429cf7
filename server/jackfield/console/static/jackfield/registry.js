/** Types only: registry.d.ts has them. */
export {};
