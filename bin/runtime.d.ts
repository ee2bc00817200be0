/** Types of runtime.js, which is in old syntax; see there. */
export function isSupported(version: string): boolean;
export function run(name: string): void;

/** Where Node may keep what it made of our sources; undefined: nowhere. */
export function compileCache(): string | undefined;
