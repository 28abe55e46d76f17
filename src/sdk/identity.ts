/** Who may do what, as it travels: users, teams, roles, keys. Compared with the service's document as all types are. */

import type { Timestamp } from './types.js'

export interface User {
  id: string
  email: string
  given_name: string
  family_name: string
  /** Whether their key was ever used. */
  verified: boolean
  invited: boolean
  picture: string | null
  phone: string | null
  /** Account role; empty where they have none. */
  role: string
  active: boolean
  /** When their key was last used, to the hour. */
  logged_in_at: Timestamp | null
  created_at: Timestamp
}

export interface NewUser {
  /** Unique in the account. */
  email: string
  given_name: string
  family_name: string
  phone?: string
  picture?: string
  /** Account role; none where absent. */
  role?: string
}

export interface UserPatch {
  given_name?: string
  family_name?: string
  phone?: string
  picture?: string
  role?: string
  /** Ours. False: their key is refused. */
  active?: boolean
}

/** A key pair that was just made: the secret is told this once. */
export interface UserKey {
  id: string
  key: string
  secret: string
}

export interface Team {
  id: string
  name: string
  description: string | null
  /** Account role of everybody in it; empty where it has none. */
  role: string
}

export interface NewTeam {
  /** Unique in the account. */
  name: string
  description?: string
  role?: string
}

export interface TeamPatch {
  name?: string
  description?: string
  role?: string
}

/** A user in a team. */
export interface TeamMember {
  user_id: string
  role: string
  created_at: Timestamp
}

export interface NewTeamMember {
  user_id: string
  /** `Team Member` where absent, or `Team Manager`. */
  role?: string
}

/** A role that a user or a team has in one group or connection. */
export interface Membership {
  /** Id of the group or connection. */
  id: string
  role: string
  created_at: Timestamp
}

export type NewMembership = Pick<Membership, 'id' | 'role'>

/** A user to be given a role in a group, by their address. */
export interface GroupUser {
  email: string
  role: string
}

export interface Role {
  name: string
  description: string
  /** Where it can be held. */
  scope: ('ACCOUNT' | 'DESTINATION' | 'CONNECTOR' | 'TEAM')[]
  is_custom: boolean
  is_deprecated: boolean
  replacement_role_name: string
}

export interface KeyPermission {
  resource_type:
    | 'ACCOUNT'
    | 'USER'
    | 'WEBHOOK'
    | 'TEAM'
    | 'ROLES'
    | 'DESTINATION'
    | 'TRANSFORMATION'
    | 'REMOTE_EXECUTION_AGENT'
    | 'CONNECTOR'
  access_level: 'NONE' | 'READ' | 'MANAGE'
  /** To which objects; without it, to all in the account. */
  resource_filter?: {
    ids?: string[]
    /** Groups, and what is in them. */
    group_ids?: string[]
  }
}

/** A key that speaks for no user. */
export interface SystemKey {
  id: string
  name: string
  /** Public half. */
  key: string
  /** Secret half; only in the answer that made it. */
  secret?: string
  permissions: KeyPermission[]
  created_at: Timestamp
  updated_at?: Timestamp
  /** Absent: never. */
  expired_at?: Timestamp
  /** To the hour; absent: never. */
  last_used_at?: Timestamp
}

export type KeyPeriod = 'ONE_WEEK' | 'ONE_MONTH' | 'THREE_MONTHS' | 'SIX_MONTHS' | 'INFINITE'

export interface NewSystemKey {
  name: string
  /** `INFINITE` where absent. */
  expiration_period?: KeyPeriod
  /** None where absent: such a key may do nothing. */
  permissions?: KeyPermission[]
}

export interface SystemKeyPatch {
  name?: string
  /** All of them, anew. */
  permissions?: KeyPermission[]
}
