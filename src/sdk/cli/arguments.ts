/** Words of a command line. */

import { CommandError } from './host.js'

export interface Arguments {
  words: string[]
  /** Flags without a value are `true`. */
  flags: Map<string, string | true>
}

/** Flags that take a value; `--name value` and `--name=value` are the same. */
const WITH_VALUE = new Set(['config', 'url', 'key', 'secret', 'run', 'limit', 'tables', 'timeout'])
const ALONE = new Set(['check', 'json', 'prune', 'yes', 'force', 'resync', 'no-wait', 'help'])
const SHORT: Record<string, string> = { '-h': '--help', '-y': '--yes', '-c': '--config' }

export function parseArguments(args: readonly string[]): Arguments {
  const words: string[] = []
  const flags = new Map<string, string | true>()
  const rest = [...args]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    const long = SHORT[word] ?? word
    if (!long.startsWith('-')) {
      words.push(long)
      continue
    }
    const [, name = '', value] = /^--([^=]+)(?:=(.*))?$/s.exec(long) ?? []
    if (WITH_VALUE.has(name)) {
      const given = value ?? rest.shift()
      if (given === undefined) throw new CommandError(`--${name} needs a value.`)
      flags.set(name, given)
    } else if (ALONE.has(name) && value === undefined) {
      flags.set(name, true)
    } else {
      throw new CommandError(`There is no option ${word}. See: fivetran --help`)
    }
  }
  return { words, flags }
}

/** Refuses further words: who names a connector where all of them are meant must not get all of them. */
export function mustStandAlone({ words }: Arguments): void {
  const [command, word] = words
  if (word !== undefined) throw new CommandError(`fivetran ${command} takes no names, and there is ${word}. Nothing was done.`)
}

/** The value of a flag, or undefined. */
export function valueOf({ flags }: Arguments, name: string): string | undefined {
  const value = flags.get(name)
  return value === true ? undefined : value
}

/** A whole number from 1, or undefined. */
export function numberOf(args: Arguments, name: string): number | undefined {
  const text = valueOf(args, name)
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new CommandError(`--${name}: ${text} is not a whole number above 0.`)
  return Number(text)
}
