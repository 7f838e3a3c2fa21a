import { artifactBytes } from '../execution/external-data.js'
import type { Lines, ValidationCase } from '../validation/cases.js'
import { checkComparison, compare, type Comparison, type Contender } from '../validation/compare.js'
import {
  checkValidation,
  validate,
  validationFailed,
  type ComparisonOptions,
  type ValidationGate,
  type ValidationOptions,
  type ValidationReport,
} from '../validation/validate.js'
import type { KnownModels } from './known-models.js'
import type { Borrowed } from './loans.js'
import { isLatest } from './names.js'
import { notReady } from './not-ready.js'
import type { ServedModel } from './served-model.js'

/** Validation and comparison of versions that are borrowed for it: what is not loaded is loaded for that time. */
export class ModelValidation {
  constructor(private readonly models: KnownModels) {}

  /** Runs cases through a version, whether it serves or not. @param version its name, or `'latest'` */
  async validate(
    model: string,
    version: string,
    cases: Lines<ValidationCase>,
    options: ValidationOptions,
  ): Promise<ValidationReport> {
    checkValidation(options)
    const found = await this.models.known(model)
    const name = await named(found, version)
    return found.loans.borrow([name], ([{ lease }]) => validate(model, name, lease, cases, options))
  }

  /** Asks two versions of a model the same inputs. */
  async compare(
    model: string,
    a: string,
    b: string,
    inputs: Lines<unknown>,
    options: ComparisonOptions,
  ): Promise<Comparison> {
    checkComparison(options)
    const found = await this.models.known(model)
    return found.loans.borrow([await named(found, a), await named(found, b)], async ([first, second]) =>
      compare(model, await contenderOf(first), await contenderOf(second), inputs, options),
    )
  }
}

/** Does something with a version that passes its validation, for which it is loaded once. @throws ServingError VALIDATION_FAILED */
export async function gated(
  model: ServedModel,
  version: string,
  { cases, ...options }: ValidationGate,
  then: () => Promise<void>,
): Promise<void> {
  const check = async ([{ lease }]: readonly [Borrowed]) => {
    const report = await validate(model.name, version, lease, cases, options)
    if (!report.slo.met) throw validationFailed(report)
  }
  await model.loans.borrow([version], check, then)
}

async function named(model: ServedModel, version: string): Promise<string> {
  if (!isLatest(version)) return version
  await model.firstLoad
  if (model.isLazy) await model.wake()
  if (model.current === undefined) throw notReady(model)
  return model.current.name
}

async function contenderOf({ version, lease }: Borrowed): Promise<Contender> {
  const { name, source } = version
  const bytes = source.hasNoFiles === true ? undefined : version.session && (await artifactBytes(source.file))
  return { version: name, bytes, by: lease }
}
