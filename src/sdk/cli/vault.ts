/** `vault`: taking a key that secrets are sealed with out of use. */

import type { VaultKey } from '../types.js'
import type { Arguments } from './arguments.js'
import { CommandError, type Host } from './host.js'
import { connect } from './session.js'

export async function vault(host: Host, args: Arguments): Promise<number> {
  const [, what, ...more] = args.words
  if (more.length > 0 || (what !== 'keys' && what !== 'reseal')) {
    throw new CommandError('What about the vault? fivetran vault keys, or fivetran vault reseal')
  }
  return what === 'keys' ? keys(host, args) : reseal(host, args)
}

/** What each key holds, and which may be removed. */
async function keys(host: Host, args: Arguments): Promise<number> {
  const found = await (await connect(host, args)).vault.keys()
  if (args.flags.has('json')) host.out(JSON.stringify(found, undefined, 2))
  else for (const key of found) host.out(line(key))
  return 0
}

function line({ id, configured, seals, sealed, held, may_be_removed }: VaultKey): string {
  const what = Object.entries(held).map(([name, count]) => `${count} ${name}`)
  const role = seals ? ', seals' : configured ? '' : ', not configured: it cannot be read'
  return `${id || '(not sealed)'}: ${sealed} values${what.length > 0 ? ` (${what.join(', ')})` : ''}${role}${may_be_removed ? ', may be removed' : ''}`
}

/** The whole pass; exit code 1 when something does not open. */
async function reseal(host: Host, args: Arguments): Promise<number> {
  const fivetran = await connect(host, args)
  let [resealed, unopened] = [0, 0]
  let cursor: string | undefined
  do {
    const done = await fivetran.vault.reseal({ cursor })
    resealed += done.resealed
    unopened += done.unopened.length
    for (const { place, reason } of done.unopened) host.err(`${place}: ${reason}`)
    cursor = done.next_cursor
  } while (cursor !== undefined)
  host.out(`${resealed} values sealed anew${unopened > 0 ? `, ${unopened} do not open and are as they were` : ''}. Next: fivetran vault keys`)
  return unopened > 0 ? 1 : 0
}
