// Credentials for a TURN server that live for a short time, by the scheme that coturn calls use-auth-secret
// (draft-uberti-behave-turn-rest-00): the user name is 'EXPIRY:LABEL' with the expiry in Unix seconds, the password is
// base64(HMAC-SHA1(secret, user name)). The TURN server knows the secret and needs no list of users. Whoever gets a
// pair can guess secrets offline at leisure, so a short secret is refused.

import { createHmac } from 'node:crypto';
import { ConfigError } from '../../base/errors.ts';
import { readWholeFile } from '../whole-file.ts';

export interface TurnCredentials {
  readonly username: string;
  readonly credential: string;
}

export const SECRET_VARIABLE = 'TABMESH_TURN_SECRET';
const MIN_SECRET_LENGTH = 16;
const MAX_TTL_SECONDS = 24 * 3600;

/** `label` names the user for the server's quotas and log; it must hold no colon. */
export function mintTurnCredentials(secret: string, label: string, expiresAtSeconds: number): TurnCredentials {
  const username = `${Math.floor(expiresAtSeconds)}:${label}`;
  return { username, credential: createHmac('sha1', secret).update(username).digest('base64') };
}

/**
 * The secret of the TURN server: from a file, or else from the environment. Never from the command line, which every
 * process of the machine can read.
 */
export function readTurnSecret(file: string | undefined, env: NodeJS.ProcessEnv): string {
  const where = file === undefined ? SECRET_VARIABLE : '--turn-secret-file';
  const secret = (file === undefined ? env[SECRET_VARIABLE] : readSecretFile(file))?.replace(/\r?\n$/, '');
  if (secret === undefined || secret === '')
    throw new ConfigError(
      where,
      `expected the secret of the TURN server (coturn: static-auth-secret), got none; give --turn-secret-file FILE or set ${SECRET_VARIABLE}`,
    );
  // The secret itself must not appear in an error.
  if (secret.length < MIN_SECRET_LENGTH)
    throw new ConfigError(
      where,
      `expected a secret of at least ${MIN_SECRET_LENGTH} characters, got ${secret.length}; \`openssl rand -hex 32\` makes one`,
    );
  return secret;
}

function readSecretFile(file: string): string {
  try {
    return new TextDecoder().decode(readWholeFile(file));
  } catch (error) {
    throw new ConfigError(
      '--turn-secret-file',
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`,
    );
  }
}

/** '90s', '15m', '1h' or plain seconds, from 1 minute to 24 hours; in seconds. */
export function parseTtl(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,6})([smh])?$/.exec(text) ?? [];
  const seconds = Number(digits) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h'];
  if (!(seconds >= 60 && seconds <= MAX_TTL_SECONDS))
    throw new ConfigError('--turn-ttl', `expected 1m to 24h, like 90s, 15m or 1h, got '${text}'`);
  return seconds;
}
