import { expect, test } from 'vitest'
import { versionOf, versionsOfCode } from './versions-of-code.js'

test('no request goes to a version in quarantine, neither by its name nor by a label, until it is released', async () => {
  const { serving } = versionsOfCode()
  await serving.models.setLabel('m', 'next', '2')
  await serving.models.quarantine('m', '2', 'wrong answers')
  for (const version of ['2', 'next']) {
    await expect(versionOf(serving, { version })).rejects.toMatchObject({
      code: 'MODEL_NOT_READY',
      message: 'm@2 is in quarantine: wrong answers',
    })
  }
  expect(await versionOf(serving)).toBe('1')
  await serving.models.release('m', '2')
  expect(await versionOf(serving, { version: 'next' })).toBe('2')
})

test('a rollback passes over a version in quarantine', async () => {
  const { serving } = versionsOfCode(undefined, { keepPrevious: 2 })
  await serving.models.switchVersion('m', '2')
  await serving.models.switchVersion('m', '3')
  await serving.models.quarantine('m', '2', 'wrong answers')
  expect(await serving.models.rollback('m')).toEqual({ version: '1', from: '3', reloaded: false })
  expect(await versionOf(serving)).toBe('1')
})

test('the version that serves goes back past others in quarantine, and stays where there is no other', async () => {
  const { serving } = versionsOfCode(undefined, { keepPrevious: 2 })
  await serving.models.switchVersion('m', '2')
  await serving.models.switchVersion('m', '3')
  await serving.models.quarantine('m', '2', 'wrong answers')
  expect(await serving.models.quarantine('m', '3', 'slow')).toMatchObject({ current: '1' })
  await expect(serving.models.quarantine('m', '1', 'old')).rejects.toMatchObject({ code: 'CONFLICT' })
  expect(await versionOf(serving)).toBe('1')
})

test('a model that is loaded anew begins with the highest version that is in no quarantine', async () => {
  const { serving } = versionsOfCode(undefined, { lazy: true, current: '3' })
  expect(await versionOf(serving)).toBe('3')
  await serving.models.switchVersion('m', '1')
  await serving.models.quarantine('m', '3', 'wrong answers')
  await serving.models.unload('m')
  expect(await versionOf(serving)).toBe('2')
})

test('a version in quarantine is validated still, and switched to by no cases that it passes', async () => {
  const { serving } = versionsOfCode()
  await serving.ready()
  await serving.models.quarantine('m', '2', 'wrong answers')
  const cases = [{ input: 'x', expected: '2' }]
  expect(await serving.models.validate('m', '2', cases)).toMatchObject({ accuracy: 1 })
  await expect(serving.models.switchVersion('m', '2', { validate: { cases } })).rejects.toMatchObject({
    code: 'CONFLICT',
  })
})

test.each([undefined, '', 5])('%j is no reason for a quarantine', async (reason) => {
  const { serving } = versionsOfCode()
  await serving.ready()
  await expect(serving.models.quarantine('m', '2', reason as never)).rejects.toMatchObject({
    code: 'INVALID_OPTIONS',
  })
  expect(serving.models.get('m').versions.every(({ quarantined }) => quarantined === undefined)).toBe(true)
})
