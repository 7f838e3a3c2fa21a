/** Who says when a batch may be handed over. */
export interface Turnstile {
  /** There is a batch to hand over. */
  wake(): void
  /** A batch that was handed over has ended. */
  finished(computeMs: number): void
}

/** What a turnstile lets through. */
export interface BatchSource {
  hasBatch(): boolean
  handOver(): void
}

/** Lets every batch through. */
export function freePassage(source: BatchSource): Turnstile {
  const pass = () => {
    while (source.hasBatch()) source.handOver()
  }
  return { wake: pass, finished: pass }
}
