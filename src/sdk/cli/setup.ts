/** `login` and `init`: what a person does once. */

import { type Arguments, mustStandAlone, valueOf } from './arguments.js'
import { CommandError, type Host } from './host.js'
import { TEMPLATE, findProject } from './project.js'
import { client, keepCredentials } from './session.js'

/** Checks the key at the service before it keeps it. */
export async function login(host: Host, args: Arguments): Promise<number> {
  mustStandAlone(args)
  const url = await given(host, args, 'url', 'FIVETRAN_URL', 'Address of your service: ')
  const key = await given(host, args, 'key', 'FIVETRAN_API_KEY', 'API key: ')
  const secret = await given(host, args, 'secret', 'FIVETRAN_API_SECRET', 'API secret: ', true)
  const { account_name } = await client(url, key, secret).account.info()
  const path = await keepCredentials(host, { url, key, secret })
  host.out(`Logged in to ${account_name} at ${url}. Kept in ${path}, readable by you alone.`)
  return 0
}

async function given(host: Host, args: Arguments, flag: string, variable: string, question: string, hidden = false): Promise<string> {
  const known = valueOf(args, flag) ?? host.env[variable]
  if (known) return known
  if (!host.isTerminal) throw new CommandError(`Give --${flag} or set ${variable}.`)
  const answer = (await host.ask(question, { hidden })).trim()
  if (answer === '') throw new CommandError('Nothing was kept.')
  return answer
}

export async function init(host: Host, args: Arguments): Promise<number> {
  mustStandAlone(args)
  const there = await findProject(host, args)
  if (there !== undefined && (await host.exists(there))) throw new CommandError(`${there} is there already.`)
  const path = there ?? `${host.cwd}/fivetran.config.mjs`
  await host.write(path, TEMPLATE)
  host.out(`Wrote ${path}. Next: edit it, fivetran plan, fivetran apply.`)
  return 0
}
