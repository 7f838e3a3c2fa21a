import { expect, test } from 'vitest'
import { readAnswer } from '../../../bench/load/answer.js'

const answers = {
  'a length': 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nx: y\r\n\r\n{"a":1}',
  chunks: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n{"a\r\n4;ignored\r\n":1}\r\n0\r\n\r\n',
}

test.each(Object.entries(answers))('an answer with %s is read however it comes apart', (_, text) => {
  const bytes = Buffer.from(text)
  for (let length = 0; length < bytes.length; length++) {
    expect(readAnswer(bytes.subarray(0, length)), `${length} bytes`).toBeUndefined()
  }
  const answer = readAnswer(bytes)
  expect({ status: answer?.status, body: String(answer?.body) }).toEqual({ status: 200, body: '{"a":1}' })
})

test('the status is read where there is no body', () => {
  const answer = readAnswer(Buffer.from('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n'))
  expect(answer).toMatchObject({ status: 503, body: { length: 0 } })
})

test('an answer that only ends with the connection is an error', () => {
  expect(() => readAnswer(Buffer.from('HTTP/1.1 200 OK\r\n\r\nabc'))).toThrow('without a length')
})
