// What a file in commands/ exports as `command`. The folder is the list of subcommands.

export interface CommandIo {
  /** One line to stdout: results. */
  out(line: string): void;
  /** One line to stderr: progress, warnings. */
  err(line: string): void;
  /** Aborted by the first Ctrl-C; the command then stops cleanly and may return any code (130 is used). */
  readonly signal: AbortSignal;
  /** True if stdout is a terminal. */
  readonly interactive: boolean;
  /** Width of that terminal in columns; 120 elsewhere. */
  readonly columns: number;
}

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Everything `tabmesh NAME --help` prints. */
  readonly help: string;
  /** Resolves to the exit code: 0 ok, 1 failure. A thrown ConfigError exits with 2, any other error with 1. */
  run(args: string[], io: CommandIo): Promise<number>;
}
