import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type {
  Transformation,
  TransformationFields,
  TransformationProject,
  TransformationProjectFields,
  TransformationType,
} from '../types.js'
import { listing } from './listing.js'

/** dbt projects. Kept, and not run yet. */
export class TransformationProjectsResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(options: ListOptions = {}): Listing<TransformationProject> {
    return listing(this.#transport, '/v1/transformation-projects', options)
  }

  get(id: string, options: RequestOptions = {}): Promise<TransformationProject> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/transformation-projects/${id}` })
  }

  create(project: TransformationProjectFields, options: RequestOptions = {}): Promise<TransformationProject> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/transformation-projects', body: project })
  }

  update(id: string, patch: TransformationProjectFields, options: RequestOptions = {}): Promise<TransformationProject> {
    return this.#transport.send({
      ...options,
      method: 'PATCH',
      path: path`/v1/transformation-projects/${id}`,
      body: patch,
    })
  }

  /** A `ConflictError` while it has transformations. */
  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/transformation-projects/${id}` })
  }
}

/** Definitions of transformations. The service keeps them, and does not run them yet. */
export class TransformationsResource {
  readonly #transport: Transport
  readonly projects: TransformationProjectsResource

  constructor(transport: Transport) {
    this.#transport = transport
    this.projects = new TransformationProjectsResource(transport)
  }

  list(
    options: ListOptions & { groupId?: string; projectId?: string; type?: TransformationType } = {},
  ): Listing<Transformation> {
    const filter = { group_id: options.groupId, project_id: options.projectId, type: options.type }
    return listing(this.#transport, '/v1/transformations', options, filter)
  }

  get(id: string, options: RequestOptions = {}): Promise<Transformation> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/transformations/${id}` })
  }

  create(transformation: TransformationFields, options: RequestOptions = {}): Promise<Transformation> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/transformations', body: transformation })
  }

  update(id: string, patch: TransformationFields, options: RequestOptions = {}): Promise<Transformation> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/transformations/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/transformations/${id}` })
  }
}
