'use strict'

/**
 * The calling convention of compat/README.md for clients written in JavaScript.
 *
 * Rules: one result line per scenario on stdout, flushed when the scenario ends; what the library logs goes to stderr.
 */

const { inspect, isDeepStrictEqual } = require('node:util')

const SCENARIO_TIMEOUT_MS = 60_000
const POLL_PAUSE_MS = 20

class Failure extends Error {}

/** What one scenario is given: where the cluster is, names of its own, and its deadline. */
class Context {
  constructor(scenario, bootstrap, prefix, topics) {
    this.bootstrap = bootstrap
    this.topics = topics
    this.scenario = scenario
    this.prefix = prefix
    this.deadline = Date.now() + SCENARIO_TIMEOUT_MS
    this.cleanups = []
    this.numbers = 0
  }

  /** Return a topic, group or client name that is unique to this run and scenario. */
  name(...parts) {
    return [this.prefix, this.scenario.replaceAll('_', '-'), ...parts].join('-')
  }

  /** Return another number each time, for names. */
  nextNumber() {
    this.numbers += 1
    return String(this.numbers)
  }

  /** Call `cleanup` when the scenario ends, however it ends; the last one first. */
  atEnd(cleanup) {
    this.cleanups.unshift(cleanup)
  }

  /** Poll `condition` until it is true; fail with `what` after the timeout or at the scenario's deadline. */
  async waitUntil(what, condition, timeoutMs = 30_000) {
    const end = Math.min(this.deadline, Date.now() + timeoutMs)
    while (!(await condition())) {
      if (Date.now() > end) throw new Failure(`not within ${timeoutMs} ms: ${typeof what === 'function' ? what() : what}`)
      await sleep(POLL_PAUSE_MS)
    }
  }
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Fail the scenario with `message` unless the condition holds. */
const check = (condition, message) => {
  if (!condition) throw new Failure(message)
}

/** Fail the scenario unless both are equal in value and type. */
const equal = (actual, expected, what) => {
  if (!isDeepStrictEqual(actual, expected)) throw new Failure(`${what}: expected ${show(expected)}, got ${show(actual)}`)
}

/** Fail unless `action` throws the Kafka error of this name, itself or as the cause of what it throws. */
const expectError = async (action, type, what) => {
  let error
  try {
    await action()
  } catch (thrown) {
    error = thrown
  }
  check(error !== undefined, `${what}: expected ${type}, got success`)
  check(errorTypes(error).includes(type), `${what}: expected ${type}, got ${error.name} ${errorTypes(error)}: ${error.message}`)
}

/** Return the protocol error names that an error of the library carries: its own, its causes' and those of its parts. */
const errorTypes = (error) => {
  if (!error) return []
  const parts = [error.cause, ...(error.errors ?? []), ...(error.groups ?? []).map((group) => group.error)]
  const partitions = (error.partitions ?? []).map((partition) => partition.error)
  return [error.type, ...[...parts, ...partitions].flatMap(errorTypes)].filter((type) => type !== undefined)
}

const show = (value) => oneLine(inspect(value, { depth: 4, maxStringLength: 100, maxArrayLength: 20, breakLength: Infinity }), 200)

const oneLine = (text, limit) => String(text).split(/\s+/).join(' ').slice(0, limit)

const run = async (scenario, context) => {
  const timeout = new Promise((_, reject) => {
    setTimeout(() => reject(new Failure('not done within 60 s')), context.deadline - Date.now()).unref()
  })
  try {
    check(scenario !== undefined, 'this client has no such scenario')
    await Promise.race([scenario(context), timeout])
    return `ok ${context.scenario}`
  } catch (error) {
    console.error(error)
    const why = error instanceof Failure ? error.message : `${error.name}: ${error.message}`
    return `fail ${context.scenario}: ${oneLine(why, 600)}`
  } finally {
    for (const cleanup of context.cleanups) {
      await cleanup().catch((error) => console.error('clean-up:', error))
    }
  }
}

/** Run the scenarios of the command line and exit. */
const main = async (scenarios) => {
  const [names, bootstrap, prefix, topics] = process.argv.slice(2)
  if (prefix === undefined || process.argv.length > 6) {
    console.error(`usage: ${process.argv[1]} SCENARIO[,SCENARIO…] BOOTSTRAP UNIQUE_PREFIX [TOPIC,TOPIC…]`)
    process.exit(2)
  }
  let failed = false
  for (const name of names.split(',')) {
    console.error(`--- ${name}`)
    const context = new Context(name, bootstrap.split(','), prefix, topics ? topics.split(',') : [])
    const line = await run(scenarios[name], context)
    failed ||= line.startsWith('fail')
    await new Promise((resolve) => process.stdout.write(`${line}\n`, resolve))
  }
  process.exit(failed ? 1 : 0)
}

module.exports = { main, check, equal, errorTypes, expectError, sleep, Failure }
