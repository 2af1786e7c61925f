// Turns meshes side by side. Data: the JSON in #viewer-data; textures: the page's own <img data-key>.
"use strict";
(() => {
  const root = document.getElementById("viewer");
  if (!root) return;
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const panels = root.querySelector(".panels");
  const REST = { yaw: 0.55, pitch: -0.12 };
  const view = { ...REST, face: 0, row: 0, photo: true };
  let turning = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  // -- meshes -----------------------------------------------------------------------------------

  // The inverse of report/meshes.py: four planes of 16-bit values, low bytes before high bytes.
  async function unpack(packed) {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const raw = new Uint8Array(await new Response(stream).arrayBuffer());
    let offset = 0;
    const plane = (count) => {
      const values = new Uint16Array(count);
      for (let i = 0; i < count; i++) values[i] = raw[offset + i] | (raw[offset + count + i] << 8);
      offset += 2 * count;
      return values;
    };
    const n = packed.vertices;
    const positions = new Float32Array(3 * n);
    for (let axis = 0; axis < 3; axis++) {
      const deltas = plane(n);
      for (let i = 0, at = 0; i < n; i++) {
        at = (at + deltas[i]) & 0xffff;
        positions[3 * i + axis] = at / data.stepsPerPx - (axis === 2 ? data.zOffsetPx : 0);
      }
    }
    const codes = plane(3 * packed.triangles);
    const indices = new Uint16Array(codes.length);
    for (let i = 0, mark = 0; i < codes.length; i++) {
      indices[i] = mark - codes[i];
      if (codes[i] === 0) mark++;
    }
    return { positions, indices, normals: normalsOf(positions, indices) };
  }

  // Area-weighted; triangles are counter-clockwise from outside where y points up, and here it points down.
  function normalsOf(p, indices) {
    const normals = new Float32Array(p.length);
    for (let t = 0; t < indices.length; t += 3) {
      const [a, b, c] = [3 * indices[t], 3 * indices[t + 1], 3 * indices[t + 2]];
      const [ux, uy, uz] = [p[b] - p[a], p[b + 1] - p[a + 1], p[b + 2] - p[a + 2]];
      const [vx, vy, vz] = [p[c] - p[a], p[c + 1] - p[a + 1], p[c + 2] - p[a + 2]];
      for (const i of [a, b, c]) {
        normals[i] -= uy * vz - uz * vy;
        normals[i + 1] -= uz * vx - ux * vz;
        normals[i + 2] -= ux * vy - uy * vx;
      }
    }
    return normals;
  }

  // -- drawing ----------------------------------------------------------------------------------

  const VERTEX = `#version 300 es
    in vec3 position; in vec3 normal;
    uniform mat3 turn; uniform vec3 centre; uniform float scale;
    centroid out vec3 n; centroid out vec2 uv; // slivers would extrapolate wildly at pixel centres
    void main() {
      vec3 p = turn * (position - centre);
      n = turn * normal;
      uv = position.xy / 128.0;
      float w = 1.0 - p.z * scale * 0.22;
      gl_Position = vec4(p.x * scale, -p.y * scale, -p.z * scale * 0.5, w);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    centroid in vec3 n; centroid in vec2 uv; out vec4 colour;
    uniform sampler2D photo; uniform float textured;
    void main() {
      vec3 m = normalize(n);
      float light = 0.17 + 0.72 * max(dot(m, normalize(vec3(-0.45, -0.55, 0.70))), 0.0)
                         + 0.20 * max(dot(m, normalize(vec3(0.80, -0.10, 0.45))), 0.0)
                         + 0.10 * max(dot(m, normalize(vec3(0.0, 0.6, 0.5))), 0.0);
      vec3 clay = vec3(0.77, 0.75, 0.72) * light;
      vec3 skin = texture(photo, uv).rgb * (0.70 + 0.30 * min(light, 1.0));
      colour = vec4(mix(clay, skin, textured), 1.0);
    }`;

  const screen = document.createElement("canvas");
  const gl = screen.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
  if (!gl || !window.DecompressionStream) {
    panels.textContent = "This browser cannot draw the meshes here; they lie in report/meshes as GLB files.";
    return;
  }
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  const uniform = (name) => gl.getUniformLocation(program, name);
  const at = Object.fromEntries(["turn", "centre", "scale", "photo", "textured"].map((k) => [k, uniform(k)]));
  gl.enable(gl.DEPTH_TEST);
  gl.enable(gl.CULL_FACE);

  const unpacked = new Map(); // key of a panel -> promise of its mesh
  function meshOf(panel) {
    if (!unpacked.has(panel.key)) unpacked.set(panel.key, unpack(panel.mesh));
    return unpacked.get(panel.key);
  }
  const panelsOf = (face, row) => [...face.fixed, ...face.rows[row].panels];
  // What is seen first is made ready while the page still loads.
  const first = Promise.all(panelsOf(data.faces[0], 0).filter((panel) => panel.mesh).map(meshOf));

  function upload(panel, mesh) {
    const vao = gl.createVertexArray();
    gl.bindVertexArray(vao);
    for (const [name, values] of [["position", mesh.positions], ["normal", mesh.normals]]) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      const location = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 3, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.indices, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    const texture = gl.createTexture();
    const image = document.querySelector(`img[data-key="${panel.photo}"]`);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    return { vao, texture, count: mesh.indices.length };
  }

  const shown = new Map(); // canvas -> what lies on the graphics card for it
  const uploaded = new Map(); // key of a panel -> the same, kept for the next time

  function draw() {
    const [sy, cy] = [Math.sin(view.yaw), Math.cos(view.yaw)];
    const [sp, cp] = [Math.sin(view.pitch), Math.cos(view.pitch)];
    // Column-major: first about the vertical axis, then about the horizontal one.
    const turn = [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy];
    const face = data.faces[view.face];
    for (const [canvas, item] of shown) {
      const side = Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2));
      if (!side) continue;
      if (canvas.width !== side) canvas.width = canvas.height = side;
      if (screen.width !== side) screen.width = screen.height = side;
      gl.viewport(0, 0, side, side);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl.uniformMatrix3fv(at.turn, false, turn);
      gl.uniform3fv(at.centre, face.centre);
      gl.uniform1f(at.scale, 1 / face.reachPx);
      gl.uniform1f(at.textured, view.photo ? 1 : 0);
      gl.bindTexture(gl.TEXTURE_2D, item.texture);
      gl.bindVertexArray(item.vao);
      gl.drawElements(gl.TRIANGLES, item.count, gl.UNSIGNED_SHORT, 0);
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, side, side);
      context.drawImage(screen, 0, 0);
    }
  }

  let queued = false;
  function redraw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame((now) => {
      queued = false;
      if (turning) view.yaw = REST.yaw + 0.55 * Math.sin(now / 2400);
      draw();
      if (turning && !document.hidden) redraw();
    });
  }
  document.addEventListener("visibilitychange", redraw);
  window.addEventListener("resize", redraw);

  // -- controls ---------------------------------------------------------------------------------

  function show() {
    const face = data.faces[view.face];
    const wanted = panelsOf(face, view.row);
    shown.clear();
    panels.replaceChildren();
    for (const panel of wanted) {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const dot = document.createElement("i");
      dot.className = `dot ${panel.colour}`;
      const note = document.createElement("small");
      note.textContent = panel.note;
      caption.append(dot, panel.label, note);
      if (!panel.mesh) {
        const empty = document.createElement("p");
        empty.className = "empty";
        empty.textContent = "no surface: the volume is empty";
        figure.append(empty, caption);
        panels.append(figure);
        continue;
      }
      const canvas = document.createElement("canvas");
      figure.append(canvas, caption);
      panels.append(figure);
      meshOf(panel).then((mesh) => {
        if (!canvas.isConnected) return;
        if (!uploaded.has(panel.key)) uploaded.set(panel.key, upload(panel, mesh));
        shown.set(canvas, uploaded.get(panel.key));
        redraw();
      });
    }
    draw();
    if (turning) redraw();
  }

  function choice(name, labels, pick) {
    const group = root.querySelector(`[data-choice="${name}"]`);
    group.hidden = labels.length < 2;
    labels.forEach((label, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.setAttribute("aria-pressed", String(i === 0));
      button.addEventListener("click", () => {
        for (const other of group.querySelectorAll("button"))
          other.setAttribute("aria-pressed", String(other === button));
        pick(i);
      });
      group.append(button);
    });
  }
  choice("face", data.faces.map((face) => face.label), (i) => {
    view.face = i;
    view.row = Math.min(view.row, data.faces[i].rows.length - 1);
    show();
  });
  choice("row", data.faces[0].rows.map((row) => row.label), (i) => {
    view.row = Math.min(i, data.faces[view.face].rows.length - 1);
    show();
  });
  choice("surface", ["photo", "clay"], (i) => {
    view.photo = i === 0;
    redraw();
  });

  let held = null;
  panels.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY };
    turning = false;
    panels.setPointerCapture(event.pointerId);
  });
  panels.addEventListener("pointermove", (event) => {
    if (!held) return;
    view.yaw += (event.clientX - held.x) * 0.011;
    view.pitch -= (event.clientY - held.y) * 0.011;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch));
    held = { x: event.clientX, y: event.clientY };
    redraw();
  });
  for (const name of ["pointerup", "pointercancel"]) panels.addEventListener(name, () => (held = null));
  panels.addEventListener("dblclick", () => {
    Object.assign(view, REST);
    redraw();
  });
  panels.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.12, 0], ArrowRight: [0.12, 0], ArrowUp: [0, 0.12], ArrowDown: [0, -0.12] };
    if (!(event.key in step)) return;
    event.preventDefault();
    turning = false;
    view.yaw += step[event.key][0];
    view.pitch += step[event.key][1];
    redraw();
  });
  // The textures are images of the page: they are there once it has loaded.
  const loaded = new Promise((done) => {
    if (document.readyState === "complete") done();
    else window.addEventListener("load", done);
  });
  Promise.all([loaded, first]).then(show);
})();
