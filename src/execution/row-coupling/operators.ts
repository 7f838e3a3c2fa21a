import { isStandard, type NodeMessage } from '../onnx-proto.js'
import { contributedRules } from './contributed.js'
import { elementwiseRules } from './elementwise.js'
import { machineLearningRules } from './machine-learning.js'
import { productRules } from './products.js'
import { recurrentRules } from './recurrent.js'
import { reducingRules } from './reducing.js'
import { selectingRules } from './selecting.js'
import { shapingRules } from './shaping.js'
import type { Rule, Rules } from './value.js'

const standardRules: Rules = {
  ...elementwiseRules,
  ...shapingRules,
  ...selectingRules,
  ...reducingRules,
  ...productRules,
  ...recurrentRules,
}

/** Operators that never keep rows apart, by what they do. */
const couplings: Readonly<Record<string, string>> = {
  DynamicQuantizeLinear: 'quantises by the largest and smallest value of all rows',
  DynamicQuantizeMatMul: 'quantises by the largest and smallest value of all rows',
  DynamicQuantizeLSTM: 'quantises by the largest and smallest value of all rows',
  NonMaxSuppression: 'selects among rows',
  NonZero: 'selects among rows',
  Unique: 'selects among rows',
  Compress: 'selects among rows',
  ...Object.fromEntries(
    [
      'RandomNormal',
      'RandomNormalLike',
      'RandomUniform',
      'RandomUniformLike',
      'Multinomial',
      'Bernoulli',
    ].map((operator) => [operator, 'draws numbers at random']),
  ),
}

/** Operators that give another answer each time. */
export function isRandom({ opType }: NodeMessage): boolean {
  return couplings[opType] === 'draws numbers at random'
}

/** The rule of an operator, or why there is none. */
export function ruleOf({ opType, domain }: NodeMessage): Rule | string {
  if (Object.hasOwn(couplings, opType)) return couplings[opType] ?? ''
  const rules = isStandard(domain)
    ? standardRules
    : domain === 'ai.onnx.ml'
      ? machineLearningRules
      : domain === 'com.microsoft'
        ? contributedRules
        : {}
  const rule = Object.hasOwn(rules, opType) ? rules[opType] : undefined
  return rule ?? 'is not known to keep rows apart'
}
