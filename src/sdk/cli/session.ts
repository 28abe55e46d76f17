/** Who the command line is, and where the service is: flags, then the environment, then what `login` kept. */

import { Fivetran } from '../client.js'
import type { FivetranConfig } from '../config.js'
import { InvalidInputError } from '../errors.js'
import { type Arguments, valueOf } from './arguments.js'
import { CommandError, type Host } from './host.js'

export interface Credentials {
  url: string
  key: string
  secret: string
}

export function credentialsPath({ env, home }: Host): string {
  return `${env['XDG_CONFIG_HOME'] || `${home}/.config`}/fivetran/credentials`
}

/** In the format of an `.env` file. */
export async function keepCredentials(host: Host, { url, key, secret }: Credentials): Promise<string> {
  const path = credentialsPath(host)
  const text = `FIVETRAN_URL=${url}\nFIVETRAN_API_KEY=${key}\nFIVETRAN_API_SECRET=${secret}\n`
  await host.write(path, text, { secret: true })
  return path
}

/** The client, or an error that says what is missing. */
export async function connect(host: Host, args: Arguments, config?: FivetranConfig): Promise<Fivetran> {
  const kept = parse((await host.read(credentialsPath(host))) ?? '')
  const from = (name: string) => host.env[name] || kept.get(name)
  const url = valueOf(args, 'url') ?? host.env['FIVETRAN_URL'] ?? config?.baseUrl ?? kept.get('FIVETRAN_URL')
  const [apiKey, apiSecret] = [from('FIVETRAN_API_KEY'), from('FIVETRAN_API_SECRET')]
  const missing = [
    ['the address of your service (FIVETRAN_URL)', url],
    ['FIVETRAN_API_KEY', apiKey],
    ['FIVETRAN_API_SECRET', apiSecret],
  ].flatMap(([name, value]) => (value ? [] : [name]))
  if (!url || !apiKey || !apiSecret) {
    throw new CommandError(`Not logged in: ${missing.join(' and ')} missing. Run: fivetran login`)
  }
  return client(url, apiKey, apiSecret)
}

/** The client of a service. */
export function client(url: string, apiKey: string, apiSecret: string): Fivetran {
  try {
    return new Fivetran({ apiKey, apiSecret, baseUrl: url })
  } catch (error) {
    if (!(error instanceof InvalidInputError)) throw error
    const message = error.message.replace(/^baseUrl: /, '')
    throw new CommandError(`The address of the service: ${message} It comes from --url, FIVETRAN_URL, the configuration or fivetran login.`)
  }
}

function parse(text: string): Map<string, string> {
  const pairs = text.split('\n').flatMap((line): [string, string][] => {
    const at = line.indexOf('=')
    return at > 0 ? [[line.slice(0, at).trim(), line.slice(at + 1).trim()]] : []
  })
  return new Map(pairs)
}
