/** Names of Worker bindings. The service reaches a binding by its name in its own configuration. */

import { InvalidInputError } from '../errors.js'
import type { Binding } from './definition.js'

/**
 * The name of a binding.
 *
 * A binding object does not know its own name, so an object is looked for in `env` by identity. That its name there is
 * also its name in the service's configuration is the user's part: the error and the documentation say so.
 */
export function bindingName(binding: Binding, env: object | undefined, field: string): string {
  if (typeof binding === 'string') {
    if (binding !== '') return binding
    throw new InvalidInputError(`${field}: the binding's name is empty.`, { code: 'InvalidInput' })
  }
  if ('name' in binding && 'binding' in binding && typeof binding.name === 'string') return binding.name
  for (const [name, value] of Object.entries(env ?? {})) {
    if (value === binding) return name
  }
  const reason =
    env === undefined
      ? 'a binding object does not know its name'
      : 'this object is not one of the bindings in the `env` given to `new Fivetran`'
  throw new InvalidInputError(
    `${field}: ${reason}. Pass the name ('ANALYTICS_DB'), { binding: env.ANALYTICS_DB, name: 'ANALYTICS_DB' }, ` +
      'or give the client your env: new Fivetran({ …, env }).',
    { code: 'InvalidInput' },
  )
}
