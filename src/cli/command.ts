// What a file in commands/ exports as `command`. The folder is the list of subcommands.

/** Why a command is asked to end early: the reason of `CommandIo.signal`. */
export interface StopReason {
  /** 'Ctrl-C', 'SIGTERM', 'nobody reads stdout any more'. */
  readonly text: string;
  /** Nobody reads what it prints: no failure of a command that only prints. */
  readonly readerGone: boolean;
}

export interface CommandIo {
  /** One line to stdout: results. */
  out(line: string): void;
  /** One line to stderr: progress, warnings. */
  err(line: string): void;
  /**
   * Aborted with a StopReason by the first Ctrl-C and its like; the command then stops cleanly and may return any code
   * (130 is used).
   */
  readonly signal: AbortSignal;
  /** True if stdout is a terminal. */
  readonly interactive: boolean;
  /** Width of that terminal in columns; 120 elsewhere. */
  readonly columns: number;
  /** Draws over the line that stderr ends with; absent where stderr is no terminal, or one without control codes. */
  redraw?(text: string): void;
}

export interface Command {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Everything `tabmesh NAME --help` prints. */
  readonly help: string;
  /** The help of what the first word asks for, where it has options of its own. */
  readonly helpOf?: Readonly<Record<string, string>>;
  /**
   * It keeps results when it is stopped: then a reader that is gone is a reason to stop (130), and its own failure
   * counts.
   */
  readonly trains?: true;
  /**
   * Resolves to the exit code: 0 ok, 1 failure. A thrown ConfigError, LayoutError or FormatError exits with 2, any
   * other error with 1.
   */
  run(args: string[], io: CommandIo): Promise<number>;
}
