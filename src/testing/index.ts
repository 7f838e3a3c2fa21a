export { stubServing, type Stub, type Stubs } from './stub-serving.js'
