import { hasRows, one, product, type Size, unknownSize } from './size.js'
import { type Call, Coupling, each, rowAxis, type Rules, shaped } from './value.js'

/** The rows of a table [rows, features]. One dimension would be the features of one row. */
function tableRows(call: Call, i = 0): Size {
  const dims = call.dims(i)
  call.needRowsAt(0, 'takes features from several rows', i)
  if (dims.length !== 2) throw new Coupling('takes the rows for features')
  return dims[0] ?? one
}

/** Rules of ai.onnx.ml: what scikit-learn, XGBoost, LightGBM and CatBoost are converted to. */
export const machineLearningRules: Rules = {
  ...each('TreeEnsembleClassifier LinearClassifier SVMClassifier', (call) => {
    const count = tableRows(call)
    return [{ dims: [count] }, { dims: [count, unknownSize()] }]
  }),
  ...each('TreeEnsembleRegressor LinearRegressor SVMRegressor TreeEnsemble', (call) => ({
    dims: [tableRows(call), unknownSize()],
  })),
  ...each('Scaler Normalizer Imputer', (call) => {
    tableRows(call)
    return { dims: call.dims(0) }
  }),
  ...each('Binarizer LabelEncoder CategoryMapper', (call) => ({ dims: call.dims(0) })),
  OneHotEncoder: (call) => ({ dims: [...call.dims(0), unknownSize()] }),
  FeatureVectorizer: (call) => {
    const [first = one] = call.inputs.map((_, i) => tableRows(call, i))
    const isMixed = call.inputs.some((value) => value !== undefined && rowAxis(value) < 0)
    if (isMixed && hasRows(first))
      throw new Coupling('joins a row with what belongs to its place in the batch')
    return { dims: [first, unknownSize()] }
  },
  ArrayFeatureExtractor: (call) => {
    const [data, places] = [call.dims(0), call.dims(1)]
    const count = product(places)
    if (rowAxis(call.input(0)) === data.length - 1) throw new Coupling('selects among rows')
    const from = places.findIndex(hasRows)
    if (from > 0 && !places.slice(0, from).every((dim) => dim.count === 1 && dim.unknowns.length === 0))
      throw new Coupling('moves elements between rows')
    return shaped([...(data.length === 1 ? [one] : data.slice(0, -1)), count])
  },
  // It is replaced by what it was fed with.
  ZipMap: (call) => ({ dims: call.dims(0) }),
}
