// Code that asks a model, and is told which: so that a test can hand it another.
// #region mood
import { ServingError } from 'mlserving'

/**
 * @param {ReturnType<typeof import('./serving.js').serving.model<'sentiment'>>} sentiment
 * @param {string} text
 * @param {import('mlserving').PredictOptions} [options]
 */
export async function moodOf(sentiment, text, options) {
  try {
    const { prediction, confidence } = await sentiment.predict({ text }, { timeoutMs: 500, ...options })
    return confidence < 0.6 ? 'unsure' : prediction
  } catch (error) {
    // Late, busy, or not loaded yet: this app can do without. What else fails is a fault.
    if (ServingError.is(error) && error.retryable) return 'unknown'
    throw error
  }
}
// #endregion
