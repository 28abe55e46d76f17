/** The command line. See docs/cli.md. */

import { FivetranError } from '../errors.js'
import { type Arguments, parseArguments } from './arguments.js'
import { CommandError, type Host } from './host.js'
import { apply, plan } from './plan.js'
import { init, login } from './setup.js'
import { connectors, logs, status, sync } from './syncs.js'
import { vault } from './vault.js'

const HELP = `fivetran: pipelines as code

  login                    keep address, key and secret of your service
  init                     write a fivetran.config.mjs to begin with
  plan [--check]           show what apply would do; --check exits with 2 when that is something
  apply [--yes] [--prune]  do it; --prune also deletes what the configuration does not mention
  sync [CONNECTOR…]        sync now and wait; --resync, --tables a.b,c.d, --no-wait, --timeout SECONDS
  status [CONNECTOR…]      health, last and next sync, what a person must do
  logs CONNECTOR           what happened; --run RUN, --limit N
  connectors               every connection of the service
  vault keys|reseal        what the keys of the vault hold; seal everything under the newest

  --config FILE            instead of fivetran.config.ts, .mjs or .js
  --url URL                instead of FIVETRAN_URL and what login kept
  --json                   for programs`

const COMMANDS: Record<string, (host: Host, args: Arguments) => Promise<number>> = {
  login,
  init,
  plan,
  apply,
  sync,
  status,
  logs,
  connectors,
  vault,
}

/** Runs a command and gives the exit code: 0, 1 when it failed, 2 when `plan --check` found something to do. */
export async function main(host: Host, argv: readonly string[]): Promise<number> {
  try {
    const args = parseArguments(argv)
    const [name] = args.words
    const command = name === undefined || !Object.hasOwn(COMMANDS, name) ? undefined : COMMANDS[name]
    if (command !== undefined && !args.flags.has('help')) return await command(host, args)
    if (name === undefined || command !== undefined) {
      host.out(HELP)
      return name === undefined && !args.flags.has('help') ? 1 : 0
    }
    throw new CommandError(`There is no command ${name}. See: fivetran --help`)
  } catch (error) {
    if (!(error instanceof FivetranError || error instanceof CommandError)) throw error
    const quote = error instanceof FivetranError && error.requestId ? ` (request ${error.requestId})` : ''
    host.err(`${error.message}${quote}`)
    return 1
  }
}
