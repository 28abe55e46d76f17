import { type RequestOptions, type Transport, path } from '../http.js'
import type { NewTeam, NewTeamMember, Team, TeamMember, TeamPatch } from '../identity.js'
import type { ListOptions, Listing } from '../pages.js'
import { listing } from './listing.js'
import { MembershipsResource } from './memberships.js'

/** Who is in a team. */
export class TeamMembersResource {
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(teamId: string, options: ListOptions & { active?: boolean } = {}): Listing<TeamMember> {
    return listing(this.#transport, path`/v1/teams/${teamId}/users`, options, { active: options.active?.toString() })
  }

  get(teamId: string, userId: string, options: RequestOptions = {}): Promise<TeamMember> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/teams/${teamId}/users/${userId}` })
  }

  add(teamId: string, member: NewTeamMember, options: RequestOptions = {}): Promise<TeamMember> {
    return this.#transport.send({ ...options, method: 'POST', path: path`/v1/teams/${teamId}/users`, body: member })
  }

  /** `Team Member` or `Team Manager`. */
  update(teamId: string, userId: string, role: string, options: RequestOptions = {}): Promise<TeamMember> {
    return this.#transport.send({
      ...options,
      method: 'PATCH',
      path: path`/v1/teams/${teamId}/users/${userId}`,
      body: { role },
    })
  }

  remove(teamId: string, userId: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/teams/${teamId}/users/${userId}` })
  }
}

/** Users who share roles. */
export class TeamsResource {
  readonly #transport: Transport
  readonly users: TeamMembersResource
  /** The team's roles in groups. */
  readonly groups: MembershipsResource
  /** The team's roles in connections. */
  readonly connections: MembershipsResource

  constructor(transport: Transport) {
    this.#transport = transport
    this.users = new TeamMembersResource(transport)
    this.groups = new MembershipsResource(transport, 'teams', 'groups')
    this.connections = new MembershipsResource(transport, 'teams', 'connections')
  }

  list(options: ListOptions = {}): Listing<Team> {
    return listing(this.#transport, '/v1/teams', options)
  }

  get(id: string, options: RequestOptions = {}): Promise<Team> {
    return this.#transport.send({ ...options, method: 'GET', path: path`/v1/teams/${id}` })
  }

  /** Names are unique in the account: a second team of that name is a `ConflictError`. */
  create(team: NewTeam, options: RequestOptions = {}): Promise<Team> {
    return this.#transport.send({ ...options, method: 'POST', path: '/v1/teams', body: team })
  }

  update(id: string, patch: TeamPatch, options: RequestOptions = {}): Promise<Team> {
    return this.#transport.send({ ...options, method: 'PATCH', path: path`/v1/teams/${id}`, body: patch })
  }

  delete(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/teams/${id}` })
  }

  /** Takes its account role away; those in groups and connections stay. */
  removeRole(id: string, options: RequestOptions = {}): Promise<void> {
    return this.#transport.send({ ...options, method: 'DELETE', path: path`/v1/teams/${id}/role` })
  }
}
