import { type RequestOptions, type Transport, path } from '../http.js'
import type { ListOptions, Listing } from '../pages.js'
import type { Certificate, NewCertificate } from '../types.js'
import { listing } from './listing.js'

/** Certificates of sources that people approved. */
export class CertificatesResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(connectionId: string, options: ListOptions = {}): Listing<Certificate> {
    return listing(this.#transport, path`/v1/connections/${connectionId}/certificates`, options)
  }

  get(connectionId: string, hash: string, options: RequestOptions = {}): Promise<Certificate> {
    const url = path`/v1/connections/${connectionId}/certificates/${hash}`
    return this.#transport.send({ ...options, method: 'GET', path: url })
  }

  /** Tried before it is kept: the server must show this certificate, or one that it signed. */
  approve(connectionId: string, certificate: NewCertificate, options: RequestOptions = {}): Promise<Certificate> {
    const url = path`/v1/connections/${connectionId}/certificates`
    return this.#transport.send({ ...options, method: 'POST', path: url, body: certificate, idempotent: true })
  }

  revoke(connectionId: string, hash: string, options: RequestOptions = {}): Promise<void> {
    const url = path`/v1/connections/${connectionId}/certificates/${hash}`
    return this.#transport.send({ ...options, method: 'DELETE', path: url })
  }
}
