// Models under /ml of a Next.js app: its app/ml/[...path]/route.js
// #region route
import { mlServing } from 'mlserving/fetch'
import { serving } from './serving.js'

const ml = mlServing(serving, { prefix: '/ml', maxBodyBytes: 100_000 })

export { ml as GET, ml as POST }
// #endregion
