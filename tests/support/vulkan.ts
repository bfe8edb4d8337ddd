// Setup of the `gpu` project: chooses the Vulkan driver before any test imports the `webgpu` package, and says which.

import { preferQuickCompiles, useVulkan } from '../../src/cli/machine/vulkan.ts';

preferQuickCompiles();
const driver = useVulkan();
if (process.env['TABMESH_VULKAN_SAID'] === undefined) {
  process.env['TABMESH_VULKAN_SAID'] = driver;
  process.stderr.write(
    `gpu tests: Vulkan driver ${driver}${process.env['VK_ICD_FILENAMES'] ? ` (${process.env['VK_ICD_FILENAMES']})` : ''}\n`,
  );
}
