/** What the command line needs of the machine. `bin/fivetran.mjs` gives it Node's; nothing else here knows Node. */
export interface Host {
  env: Record<string, string | undefined>
  /** Absolute path of the working directory. */
  cwd: string
  home: string
  /** A person is watching. */
  isTerminal: boolean
  /** Writes a line. */
  out(line: string): void
  /** Writes a line to standard error. */
  err(line: string): void
  /** Asks the person; what is typed is not shown where `hidden`. */
  ask(question: string, options?: { hidden?: boolean }): Promise<string>
  exists(path: string): Promise<boolean>
  /** The text of a file, or undefined when there is none. */
  read(path: string): Promise<string | undefined>
  /** Writes a file that only its owner may read where `secret`, and the folders above it. */
  write(path: string, text: string, options?: { secret?: boolean }): Promise<void>
  /** Runs a module and gives its default export. */
  load(path: string): Promise<unknown>
}

/** The command cannot be carried out; the message says why and what to do. Exit code 1. */
export class CommandError extends Error {}
