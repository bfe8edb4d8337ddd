// The rules of the house about sources, as one function from files to offences: which folder may import which, which
// globals belong to which file, how large files and folders may be, and how wide comments and WGSL. Works on the syntax
// tree, so comments, strings and members of the same name are no offence.

import ts from 'typescript';

/** Folders by level; a folder imports only from lower levels or from itself. Paths are relative to the repository. */
export const LEVELS: readonly (readonly string[])[] = [
  ['src/base'],
  ['src/device', 'src/transport'],
  ['shaders', 'src/collectives'],
  ['src/ops'],
  ['src/model'],
  ['src/parallel'],
  ['src/cluster', 'src/train'],
  ['workers', 'src/bench', 'src/server'],
  ['src/app/shared', 'src/cli'],
  // The pages, beside each other.
  ['src/app/training', 'src/app/bench', 'src/app/collectives'],
];

interface GlobalRule {
  readonly what: string;
  readonly names: RegExp;
  readonly where: string;
  allowed(path: string, level: number): boolean;
  /** A type alone is no use of the global. */ readonly typesAllowed: boolean;
}

const GLOBALS: readonly GlobalRule[] = [
  {
    what: 'the page',
    names:
      /^(document|window|localStorage|sessionStorage|customElements|requestAnimationFrame|alert|(HTML|SVG)\w*Element|Element|MutationObserver|ResizeObserver)$/,
    where: 'src/app',
    allowed: (path) => path.startsWith('src/app/'),
    typesAllowed: false,
  },
  {
    what: 'a peer connection',
    names: /^RTCPeerConnection$/,
    where: 'src/transport/webrtc.ts',
    allowed: (path) => path === 'src/transport/webrtc.ts',
    typesAllowed: true,
  },
  {
    what: 'WebGPU',
    names: /^GPU[A-Z]\w*$/,
    where: 'src/device/webgpu.ts and node-gpu.ts',
    allowed: (path) => /^src\/device\/(webgpu|node-gpu)\.ts$/.test(path),
    typesAllowed: true,
  },
  {
    what: 'a clock or timer',
    names: /^(performance|Date|setTimeout|setInterval|setImmediate)$/,
    where: 'src/base/world.ts (take a World)',
    allowed: (path, level) => path === 'src/base/world.ts' || level >= 7,
    typesAllowed: true,
  },
  // Sealing and signing need the ciphers of `crypto`; its random numbers come from the World, except the private keys
  // that no script may see.
  {
    what: 'randomness',
    names: /^(Math\.random|crypto)$/,
    where: 'src/base/world.ts (take a World)',
    allowed: (path, level) =>
      ['src/base/world.ts', 'src/cluster/seal.ts', 'src/cluster/identity/keys.ts'].includes(path) || level >= 7,
    typesAllowed: true,
  },
];

export const MAX_LINES = 450;
export const MAX_FUNCTION_LINES = 100;
export const MAX_FILES = 15;
export const MAX_WIDTH = 120;
/** Folders in which every file is one more of a kind. */
const COLLECTIONS = /^(shaders\/[a-z]+|src\/ops|src\/model\/families|src\/parallel\/pipeline\/schedules)$/;

interface Use {
  readonly text: string;
  readonly line: number;
  readonly typeOnly: boolean;
}
interface Source {
  readonly imports: readonly Use[];
  readonly globals: readonly Use[];
  readonly longFunctions: readonly Use[];
}

function folderOf(path: string): string | undefined {
  return LEVELS.flat().find((folder) => path.startsWith(`${folder}/`));
}

function levelOf(path: string): number {
  return LEVELS.findIndex((folders) => folders.some((folder) => path.startsWith(`${folder}/`)));
}

/** 'src/ops/../base/x.ts' without the dots. */
function resolve(from: string, specifier: string): string {
  const parts = specifier.startsWith('/') ? [] : from.split('/').slice(0, -1);
  for (const part of specifier.split('?')[0].split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '.' && part !== '') parts.push(part);
  }
  return parts.join('/');
}

/** 'x', also for `globalThis.x`; 'Math.random' for that member; undefined for identifiers that are no free name. */
function globalName(node: ts.Identifier): string | undefined {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent) && parent.name === node) {
    const owner = ts.isIdentifier(parent.expression) ? parent.expression.text : '';
    if (['globalThis', 'self', 'window'].includes(owner)) return node.text;
    return owner === 'Math' ? `Math.${node.text}` : undefined;
  }
  const named = parent as { name?: ts.Node; propertyName?: ts.Node };
  return named.name === node || named.propertyName === node ? undefined : node.text;
}

function isTypePosition(node: ts.Node): boolean {
  for (let at: ts.Node | undefined = node.parent; at !== undefined; at = at.parent) {
    if (ts.isTypeNode(at) && !ts.isExpressionWithTypeArguments(at)) return true;
    if (ts.isInterfaceDeclaration(at)) return true;
    if (ts.isStatement(at) || ts.isExpression(at)) return false;
  }
  return false;
}

function parse(path: string, text: string): Source {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  const imports: Use[] = [];
  const used: Use[] = [];
  const longFunctions: Use[] = [];
  const declared = new Set<string>();
  const lineOf = (node: ts.Node) => file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;
  const importAt = (node: ts.Node, typeOnly: boolean) => {
    if (ts.isStringLiteralLike(node)) imports.push({ text: node.text, line: lineOf(node), typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node))
      importAt(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    if (ts.isExportDeclaration(node) && node.moduleSpecifier) importAt(node.moduleSpecifier, node.isTypeOnly);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) importAt(node.argument.literal, true);
    if (ts.isCallExpression(node)) {
      const callee = node.expression;
      const loads = callee.kind === ts.SyntaxKind.ImportKeyword || callee.getText(file) === 'import.meta.glob';
      const [first] = node.arguments;
      if (loads && first)
        (ts.isArrayLiteralExpression(first) ? first.elements : [first])
          .filter((argument) => !argument.getText(file).startsWith("'!"))
          .forEach((argument) => importAt(argument, false));
    }
    // new Worker(new URL('./x.ts', import.meta.url)) is an import as well.
    if (
      ts.isNewExpression(node) &&
      node.expression.getText(file) === 'URL' &&
      node.arguments?.[1]?.getText(file) === 'import.meta.url'
    )
      importAt(node.arguments[0], false);
    if (
      (ts.isVariableDeclaration(node) ||
        ts.isParameter(node) ||
        ts.isBindingElement(node) ||
        ts.isFunctionDeclaration(node) ||
        ts.isClassDeclaration(node) ||
        ts.isImportSpecifier(node)) &&
      node.name &&
      ts.isIdentifier(node.name)
    )
      declared.add(node.name.text);
    if (
      (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) &&
      !file.statements.some((statement) => ts.isModuleDeclaration(statement))
    )
      declared.add(node.name.text);
    if (ts.isIdentifier(node)) {
      const name = globalName(node);
      if (name !== undefined) used.push({ text: name, line: lineOf(node), typeOnly: isTypePosition(node) });
    }
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const lines = file.getLineAndCharacterOfPosition(node.end).line + 2 - lineOf(node);
      if (lines > MAX_FUNCTION_LINES)
        longFunctions.push({ text: `a function of ${lines} lines`, line: lineOf(node), typeOnly: false });
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return { imports, globals: used.filter(({ text: name }) => !declared.has(name)), longFunctions };
}

/** 'ops/x.ts' for src/ops/x.ts. */
const short = (path: string) => path.replace(/^src\//, '');

function importOffences(path: string, { imports }: Source, files: ReadonlyMap<string, string>): string[] {
  const level = levelOf(path);
  const offences: string[] = [];
  for (const { text, line } of imports) {
    if (!text.startsWith('.') && !text.startsWith('/')) {
      const node = text.startsWith('node:');
      const allowed =
        path.startsWith('src/cli/') ||
        path.startsWith('src/server/') ||
        path === 'src/device/node-gpu.ts' ||
        (level >= 6 && !node) ||
        /^virtual:|^\/@/.test(text);
      if (!allowed)
        offences.push(
          `${short(path)}:${line} imports ${text}: ${node ? 'only cli and server may use Node' : 'packages are for level 6 and up'}`,
        );
      continue;
    }
    const target = resolve(path, text);
    const targetFolder = folderOf(target);
    if (targetFolder === undefined) {
      if (level < 8) offences.push(`${short(path)}:${line} imports ${target}: it lies in no layer`);
    } else if (targetFolder !== folderOf(path) && levelOf(target) >= level) {
      offences.push(
        `${short(path)}:${line} imports ${short(target)}: level ${level} may import ${level === 0 ? 'nothing' : level === 1 ? 'level 0' : `levels 0-${level - 1}`}`,
      );
    } else if (!target.includes('*') && !files.has(target)) {
      offences.push(`${short(path)}:${line} imports ${short(target)}: there is no such file`);
    }
  }
  return offences;
}

function globalOffences(path: string, { globals }: Source): string[] {
  const level = levelOf(path);
  return GLOBALS.filter((rule) => !rule.allowed(path, level)).flatMap((rule) =>
    globals
      .filter(({ text, typeOnly }) => rule.names.test(text) && !(typeOnly && rule.typesAllowed))
      .map(({ text, line }) => `${short(path)}:${line} uses ${text}: ${rule.what} belongs to ${rule.where}`),
  );
}

/** Circles of imports between files; a type alone closes no circle, since it is gone at run time. */
function circles(sources: ReadonlyMap<string, Source>): string[] {
  const offences: string[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'open')
      offences.push(`circle of imports: ${[...trail.slice(trail.indexOf(path)), path].map(short).join(' -> ')}`);
    if (state.has(path)) return;
    state.set(path, 'open');
    for (const { text, typeOnly } of sources.get(path)!.imports) {
      const target = text.startsWith('.') && !typeOnly ? resolve(path, text) : '';
      if (sources.has(target)) visit(target, [...trail, path]);
    }
    state.set(path, 'done');
  };
  for (const path of sources.keys()) visit(path, []);
  return offences;
}

function sizeOffences(files: ReadonlyMap<string, string>, sources: ReadonlyMap<string, Source>): string[] {
  const offences: string[] = [];
  const perFolder = new Map<string, number>();
  for (const [path, text] of files) {
    const lines = text.trimEnd().split('\n').length;
    if (lines > MAX_LINES) offences.push(`${short(path)} has ${lines} lines: at most ${MAX_LINES}`);
    for (const { text: what, line } of sources.get(path)?.longFunctions ?? [])
      offences.push(`${short(path)}:${line} has ${what}: at most ${MAX_FUNCTION_LINES}`);
    const folder = path.slice(0, path.lastIndexOf('/'));
    perFolder.set(folder, (perFolder.get(folder) ?? 0) + 1);
  }
  for (const [folder, count] of perFolder)
    if (count > MAX_FILES && !COLLECTIONS.test(folder))
      offences.push(`${short(folder)} holds ${count} files: at most ${MAX_FILES}`);
  return offences;
}

const COMMENT = /^\s*(\/\/|\/\*\*?|\*)\s+/;

/** Lines that are too long where no formatter looks: all of WGSL, and comments, unless they are one long word. */
export function widthOffences(path: string, text: string): string[] {
  return text.split('\n').flatMap((line, i) => {
    if (line.length <= MAX_WIDTH) return [];
    const isLongComment = COMMENT.test(line) && line.replace(COMMENT, '').trim().includes(' ');
    return path.endsWith('.wgsl') || isLongComment
      ? [`${short(path)}:${i + 1} is ${line.length} columns wide: at most ${MAX_WIDTH}`]
      : [];
  });
}

/** Every offence of these files (path to text) as one sentence with the place; empty when the house is in order. */
export function offencesIn(files: ReadonlyMap<string, string>): readonly string[] {
  const sources = new Map(
    [...files]
      .filter(([path]) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
      .map(([path, text]) => [path, parse(path, text)]),
  );
  const homeless = [...files.keys()].filter((path) => levelOf(path) < 0).map((path) => `${path} lies in no layer`);
  const each = [...sources].flatMap(([path, source]) => [
    ...importOffences(path, source, files),
    ...globalOffences(path, source),
  ]);
  const wide = [...files]
    .filter(([path]) => /\.(ts|wgsl)$/.test(path))
    .flatMap(([path, text]) => widthOffences(path, text));
  return [...homeless, ...each, ...circles(sources), ...sizeOffences(files, sources), ...wide];
}
