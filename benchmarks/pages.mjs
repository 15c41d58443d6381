// Looks at pages as people do: headless Chromium, offline, at 390, 820 and 1440 pixels, light and dark.
// Prints what does not fit the width, what could not be loaded, and what axe-core finds; exits with 1 if any.
//
//   npm install puppeteer-core axe-core          (anywhere; with a Chromium from the system)
//   NODE_PATH=<there>/node_modules CHROMIUM=/usr/bin/chromium node benchmarks/pages.mjs SHOTS reports/quick/*.html
import fs from 'node:fs';
import path from 'node:path';
import {createRequire} from 'node:module';

const require = createRequire(path.join(process.env.NODE_PATH ?? 'node_modules', 'x.js'));
const puppeteer = require('puppeteer-core').default ?? require('puppeteer-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const [shots, ...pages] = process.argv.slice(2);
fs.mkdirSync(shots, {recursive: true});

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
let views = 0, bad = 0;
for (const file of pages) for (const scheme of ['light', 'dark']) for (const width of [390, 820, 1440]) {
  const page = await browser.newPage();
  const lost = [];
  page.on('requestfailed', request => lost.push(request.url().slice(0, 80)));
  page.on('console', message => message.type() === 'error' && lost.push(message.text()));
  await page.setOfflineMode(true);
  await page.setBypassCSP(true); // for axe alone; the page runs no script
  await page.setViewport({width, height: 900});
  await page.emulateMediaFeatures([{name: 'prefers-color-scheme', value: scheme}]);
  await page.goto('file://' + path.resolve(file));
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.evaluate(axe);
  const found = await page.evaluate(async () => (await window.axe.run(document)).violations.map(
    rule => `${rule.impact} ${rule.id} x${rule.nodes.length}: ${rule.nodes[0].html.slice(0, 120)}`));
  const name = [path.basename(path.dirname(path.resolve(file))), path.basename(file, '.html'), scheme, width].join('-');
  await page.screenshot({path: path.join(shots, `${name}.png`), fullPage: Boolean(process.env.FULL)});
  views++;
  if (over > 0 || lost.length || found.length) {
    bad++;
    console.log(name, over > 0 ? `${over} px too wide` : '', ...lost, ...found);
  }
  await page.close();
}
await browser.close();
console.log(`${pages.length} pages, ${views} views, ${bad} with something found`);
process.exit(bad ? 1 : 0);
