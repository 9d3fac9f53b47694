// Worker threads that pass memory to each other: buffers moved and shared, hashed. Prints "ok N".
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const assert = require('node:assert');
const crypto = require('node:crypto');
const zlib = require('node:zlib');

if (!isMainThread) {
    const shared = new Int32Array(workerData.shared);
    parentPort.on('message', async ({ round, buffer, hash }) => {
        assert.strictEqual(crypto.createHash('sha256').update(Buffer.from(buffer)).digest('hex'), hash);
        const packed = zlib.deflateSync(Buffer.from(buffer), { level: 1 });
        const twice = await Promise.all([packed, packed].map(
            (one) => new Promise((done, fail) => zlib.inflate(one, (e, out) => (e ? fail(e) : done(out))))));
        assert.ok(twice[0].equals(Buffer.from(buffer)) && twice[1].equals(twice[0]));
        const words = new Map();
        for (let i = 0; i < 2000; i++) {
            words.set(`word ${i} of ${round}`, { i, list: new Array(i % 20).fill(i) });
        }
        const again = JSON.parse(JSON.stringify([...words]));
        assert.strictEqual(again.reduce((sum, [, v]) => sum + v.i, 0), 1999000);
        Atomics.add(shared, 0, 1);
        parentPort.postMessage({ buffer, hash }, [buffer]); // moved, not copied
    });
} else {
    const rounds = Number(process.argv[2]), workers = 4;
    const shared = new SharedArrayBuffer(4);
    let ended = 0;
    for (let w = 0; w < workers; w++) {
        const worker = new Worker(__filename, { workerData: { shared } });
        let round = 0;
        const next = () => {
            if (round++ === rounds) return worker.terminate();
            const bytes = crypto.randomBytes(1000 + ((w * 7919 + round * 104729) % 300000));
            const hash = crypto.createHash('sha256').update(bytes).digest('hex');
            const buffer = new Uint8Array(bytes).buffer;
            worker.postMessage({ round, buffer, hash }, [buffer]);
            assert.strictEqual(buffer.byteLength, 0);
        };
        worker.on('message', ({ buffer, hash }) => {
            assert.strictEqual(crypto.createHash('sha256').update(Buffer.from(buffer)).digest('hex'), hash);
            next();
        });
        worker.on('error', (error) => { console.error(error); process.exit(1); });
        worker.on('exit', () => {
            if (++ended < workers) return;
            assert.strictEqual(new Int32Array(shared)[0], rounds * workers);
            console.log(`ok ${rounds * workers}`);
        });
        next();
    }
}
