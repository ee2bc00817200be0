/** Types of runtime.js, which is in old syntax; see there. */
export function isSupported(version: string): boolean;
export function run(name: string): void;
