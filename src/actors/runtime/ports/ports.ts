/**
 * Ports: the port actors of a system, the newest life of each, and the watchdog that feels their pulse.
 */
import type { Incarnation, Spec, World } from '../core/target.ts';
import type { LogFunction } from '../thread.ts';
import { PortCell } from './port-cell.ts';
import { PulseWatchdog, type PulseBounds } from './pulse-watchdog.ts';

export class Ports {
  readonly #newest = new Map<string, PortCell>();
  readonly #watchdog: PulseWatchdog;
  readonly #tickMs: number;
  #ticking: NodeJS.Timeout | undefined;

  constructor(log: LogFunction, bounds: PulseBounds) {
    this.#watchdog = new PulseWatchdog(bounds, log);
    this.#tickMs = bounds.tickMs;
  }

  incarnate(world: World, spec: Spec, incarnation: number): Incarnation {
    const cell = new PortCell(world, spec, incarnation, world.nextId());
    this.#newest.set(spec.path, cell);
    if (this.#ticking === undefined) {
      this.#ticking = setInterval(() => this.#watchdog.tick(this.#running()), this.#tickMs);
      this.#ticking.unref();
    }
    return cell;
  }

  /** Of each the newest life, ended or not. */
  get states(): readonly { readonly name: string; readonly phase: PortCell['phase'] }[] {
    return [...this.#newest.values()].map(({ spec, phase }) => ({ name: spec.name, phase }));
  }

  close(): void {
    clearInterval(this.#ticking);
  }

  #running(): PortCell[] {
    return [...this.#newest.values()].filter(({ phase }) => phase === 'running' || phase === 'stuck');
  }
}
