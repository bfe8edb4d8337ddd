// Which Vulkan driver Dawn uses under Node on Linux (other systems have Metal or D3D12 and need nothing). Without a GPU
// there are two software drivers: SwiftShader, which comes with every Chromium, and lavapipe of Mesa 23 or newer (older
// ones are refused by Dawn). Both are chosen through VK_ICD_FILENAMES. Dawn opens `libvulkan.so.1` by name; where that
// package is absent, Chromium's copy is loaded first under that name.

import { existsSync, readFileSync, readdirSync, realpathSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ConfigError, NoDeviceError } from '../../base/errors.ts';
import { findBrowser } from './browser.ts';
import { cacheFolder } from './packages.ts';

export type VulkanDriver = 'system' | 'swiftshader' | 'lavapipe';

const ICD_FOLDERS = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d', '/usr/local/share/vulkan/icd.d'];
const LIBRARY_FOLDERS = [
  '/usr/lib',
  '/usr/lib64',
  '/lib',
  ...['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu`),
];

/** Folders that hold the parts of an installed Chromium. */
function browserFolders(): string[] {
  const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome', '/opt/microsoft/msedge'];
  const browser = findBrowser();
  if (browser !== undefined) folders.push(dirname(realpathSync(browser)));
  return folders;
}

/** SwiftShader's description file in the browser's folder; undefined without a browser. */
export function findSwiftShader(): string | undefined {
  return browserFolders()
    .map((folder) => join(folder, 'vk_swiftshader_icd.json'))
    .find((path) => existsSync(path));
}

/** Where lavapipe.ts keeps its copy. */
export function lavapipeFolder(): string {
  return cacheFolder('lavapipe');
}

/** lavapipe's description file: our own copy (see lavapipe.ts), or the system's if its Mesa is new enough. */
export function findLavapipe(): string | undefined {
  const own = join(lavapipeFolder(), 'lvp_icd.json');
  if (existsSync(own)) return own;
  for (const folder of ICD_FOLDERS) {
    if (!existsSync(folder)) continue;
    const name = readdirSync(folder).find((file) => /^lvp_icd.*\.json$/.test(file));
    if (name === undefined) continue;
    // Mesa 22.3 reports Vulkan 1.3.230-odd; 23 and newer are above 1.3.235.
    const version = /"api_version":\s*"1\.(\d+)\.(\d+)"/.exec(readFileSync(join(folder, name), 'utf8'));
    if (version && (Number(version[1]) > 3 || Number(version[2]) > 235)) return join(folder, name);
  }
  return undefined;
}

/** True if a kernel driver of a GPU is here and somebody installed a Vulkan driver. */
function hasGpu(): boolean {
  const dri = existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('renderD'));
  return (
    (dri || existsSync('/dev/nvidiactl')) &&
    ICD_FOLDERS.some((folder) => existsSync(folder) && readdirSync(folder).some((name) => !name.startsWith('lvp_')))
  );
}

/** The Vulkan loader of the system, or else the browser's; `undefined` means that Dawn cannot start. */
export function findVulkanLoader(): { readonly path: string; readonly system: boolean } | undefined {
  for (const system of [true, false]) {
    const path = (system ? LIBRARY_FOLDERS : browserFolders())
      .map((folder) => join(folder, 'libvulkan.so.1'))
      .find((file) => existsSync(file));
    if (path !== undefined) return { path, system };
  }
  return undefined;
}

/** Loads the browser's Vulkan loader into this process for good, if the system has none. Safe to call twice. */
function loadVulkanLoader(): void {
  const loader = findVulkanLoader();
  if (loader === undefined || loader.system) return;
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, loader.path, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    // Node rightly says that this is no addon, after it has loaded it; because of RTLD_NODELETE it stays.
    if (!(error instanceof Error) || !error.message.includes('did not self-register')) throw error;
  }
}

/**
 * For runs that launch every kernel a few times: has lavapipe spend less on compiling, if that is the driver. LLVM
 * takes 20 s for a small softmax on 8 lanes with optimisation, 2.5 s on 4 lanes without. Call it before a device is
 * opened; settings of the user stay.
 */
export function preferQuickCompiles(): void {
  if (!process.env['VK_ICD_FILENAMES']?.includes('lvp') && process.env['TABMESH_VULKAN'] !== 'lavapipe') return;
  process.env['GALLIVM_PERF'] ??= 'nopt';
  process.env['LP_NATIVE_VECTOR_WIDTH'] ??= '128';
}

/** The drivers that this process has been prepared for, by what was asked. */
const prepared = new Map<string | undefined, VulkanDriver>();

/**
 * Prepares this process for Dawn; call it before the `webgpu` package is imported. A VK_ICD_FILENAMES of the user stays
 * as it is; TABMESH_VULKAN (system, swiftshader, lavapipe) chooses; otherwise a real GPU comes first, then SwiftShader,
 * then lavapipe. Returns what was chosen; a second call changes nothing, wherever the environment looks for drivers by
 * then.
 */
export function useVulkan(choice: string | undefined = process.env['TABMESH_VULKAN']): VulkanDriver {
  const driver = prepared.get(choice) ?? chooseVulkan(choice);
  prepared.set(choice, driver);
  return driver;
}

function chooseVulkan(choice: string | undefined): VulkanDriver {
  if (process.platform !== 'linux') return 'system';
  loadVulkanLoader();
  // A driver that finds no XDG_RUNTIME_DIR writes a warning to stderr for every instance.
  process.env['XDG_RUNTIME_DIR'] ??= tmpdir();
  if (process.env['VK_ICD_FILENAMES'] && choice === undefined) return 'system';
  const found = { swiftshader: findSwiftShader(), lavapipe: findLavapipe() };
  const driver =
    choice ??
    (hasGpu()
      ? 'system'
      : found.swiftshader !== undefined
        ? 'swiftshader'
        : found.lavapipe !== undefined
          ? 'lavapipe'
          : 'system');
  if (driver === 'system') return driver;
  if (driver !== 'swiftshader' && driver !== 'lavapipe')
    throw new ConfigError('TABMESH_VULKAN', `expected system, swiftshader or lavapipe, got '${driver}'`);
  const icd = found[driver];
  if (icd === undefined)
    throw new NoDeviceError(
      `vulkan: ${driver} was asked for, but is not installed; ${driver === 'lavapipe' ? 'install mesa-vulkan-drivers 23 or newer' : 'install Chromium'}`,
    );
  process.env['VK_ICD_FILENAMES'] = icd;
  return driver;
}
