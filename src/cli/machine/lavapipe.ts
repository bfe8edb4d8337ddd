// Gives this machine lavapipe (Mesa's software Vulkan) as a second, independent driver for the tests. Dawn wants Mesa
// 23 or newer; Debian 12 has that only in backports. The package is downloaded and unpacked into our own cache folder
// and is not installed: a Vulkan driver of the system would also be picked up by browsers. Only libraries that it lacks
// are installed, and those replace nothing. Root on Debian only.

import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NoDeviceError } from '../../base/errors.ts';
import { canInstallPackages } from './browser.ts';
import { completeLibraries, downloadPackage, installLibraries, runTool } from './packages.ts';
import { findLavapipe, findVulkanLoader, lavapipeFolder } from './vulkan.ts';

const PACKAGE = 'mesa-vulkan-drivers';
const MINIMUM_MESA = 23;

const command = (name: string, args: readonly string[], options?: Parameters<typeof runTool>[3]): string =>
  runTool('lavapipe', name, args, options);

/**
 * The machine's own apt sources in deb822 form with the release `codename` replaced by its backports; stanzas of other
 * suites are dropped.
 */
export function backportsSources(sources: string, codename: string): string {
  const stanzas = sources.split(/\n\s*\n/).map((stanza) =>
    stanza
      .split('\n')
      .filter((line) => !line.startsWith('#'))
      .join('\n')
      .trim(),
  );
  const release = stanzas.filter((stanza) => new RegExp(`^Suites:(?:.*\\s)?${codename}(?:\\s|$)`, 'm').test(stanza));
  return release.map((stanza) => `${stanza.replace(/^Suites:.*$/m, `Suites: ${codename}-backports`)}\n`).join('\n');
}

/** One-line sources (`deb [options] uri suite components`) of `codename`, with the suite replaced by its backports. */
export function backportsList(list: string, codename: string): string {
  return [...list.matchAll(/^deb\s+(\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s+(.+)$/gm)]
    .filter((match) => match[3] === codename)
    .map((match) => `deb ${match[1] ?? ''}${match[2]} ${codename}-backports ${match[4]}\n`)
    .join('');
}

function readFolder(folder: string, suffix: string): string {
  return readdirSync(folder)
    .filter((name) => name.endsWith(suffix))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n\n');
}

/**
 * An apt configuration in `work` that sees nothing but backports and touches none of the system's lists; returns its
 * path.
 */
function backportsConfig(work: string): string {
  const codename = /^VERSION_CODENAME=(\w+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? '';
  const folder = '/etc/apt/sources.list.d';
  for (const part of ['sources', 'lists/partial', 'cache/archives/partial'])
    mkdirSync(join(work, part), { recursive: true });
  writeFileSync(join(work, 'sources', 'backports.sources'), backportsSources(readFolder(folder, '.sources'), codename));
  const lists = `${readFolder(folder, '.list')}\n${readdirSync('/etc/apt').includes('sources.list') ? readFileSync('/etc/apt/sources.list', 'utf8') : ''}`;
  writeFileSync(join(work, 'sources', 'backports.list'), backportsList(lists, codename));
  const config = join(work, 'apt.conf');
  const entries = {
    'Dir::Etc::sourcelist': '/dev/null',
    'Dir::Etc::sourceparts': join(work, 'sources'),
    'Dir::State::lists': join(work, 'lists'),
    'Dir::Cache': join(work, 'cache'),
    'APT::Sandbox::User': 'root',
  };
  writeFileSync(
    config,
    Object.entries(entries)
      .map(([key, value]) => `${key} "${value}";\n`)
      .join(''),
  );
  return config;
}

/** Mesa's major version in what `apt-cache policy` says would be installed; 0 if there is none. */
function candidateMesa(aptConfig?: string): number {
  return Number(
    /Candidate:\s*(?:\d+:)?(\d+)\./.exec(command('apt-cache', ['policy', PACKAGE], { aptConfig }))?.[1] ?? 0,
  );
}

function download(work: string, say: (line: string) => void): string {
  let aptConfig: string | undefined;
  if (candidateMesa() < MINIMUM_MESA) {
    aptConfig = backportsConfig(work);
    command('apt-get', ['update', '-q'], { aptConfig });
    const version = candidateMesa(aptConfig);
    if (version < MINIMUM_MESA)
      throw new NoDeviceError(
        `lavapipe: expected ${PACKAGE} ${MINIMUM_MESA} or newer in this release or its backports, got ${version || 'none'}`,
      );
  }
  say(
    `lavapipe: downloading ${PACKAGE} ${aptConfig === undefined ? '' : 'from backports '}into ${lavapipeFolder()} (the system keeps its own drivers)`,
  );
  return downloadPackage('lavapipe', PACKAGE, work, aptConfig);
}

/**
 * lavapipe's description file for VK_ICD_FILENAMES. Downloads it once where that is possible; otherwise throws
 * NoDeviceError.
 */
export function ensureLavapipe(say: (line: string) => void): string {
  const found = findLavapipe();
  if (found !== undefined) return found;
  if (!canInstallPackages())
    throw new NoDeviceError('lavapipe: expected Mesa 23 or newer, found none; install mesa-vulkan-drivers');
  const work = mkdtempSync(join(tmpdir(), 'tabmesh-lavapipe-'));
  try {
    const deb = download(work, say);
    command('dpkg-deb', ['-x', deb, join(work, 'root')]);
    const [driver] = readdirSync(join(work, 'root'), { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.endsWith('/libvulkan_lvp.so'),
    );
    const library = join(lavapipeFolder(), 'libvulkan_lvp.so');
    mkdirSync(lavapipeFolder(), { recursive: true });
    copyFileSync(join(work, 'root', driver), library);
    completeLibraries('lavapipe', library, deb, say);
    if (findVulkanLoader() === undefined) installLibraries('lavapipe', ['libvulkan1'], say);
    // The description comes last: its presence means that everything is in place.
    const icd = join(lavapipeFolder(), 'lvp_icd.json');
    writeFileSync(
      icd,
      JSON.stringify({ file_format_version: '1.0.0', ICD: { api_version: '1.3.250', library_path: library } }),
    );
    return icd;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
