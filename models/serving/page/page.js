"use strict";
// Pictures go to /recognise one by one, a few at a time; what comes back is only ever put in as text.
const TOGETHER = 4, UNSURE = 0.5, PATIENCE = 20;
const [drop, files, words, said] = ["drop", "files", "words", "said"].map(id => document.getElementById(id));
const percent = share => `${(100 * share).toFixed(1)} %`;
const rest = seconds => new Promise(done => setTimeout(done, 1000 * seconds));

function card(file) {
  const made = document.getElementById("word").content.cloneNode(true).firstElementChild;
  const picture = made.querySelector("img");
  picture.alt = file.name;
  picture.src = URL.createObjectURL(file);
  picture.onload = picture.onerror = () => URL.revokeObjectURL(picture.src);
  made.querySelector("output").textContent = "…";
  words.prepend(made);
  return made;
}

function mark({ character, confidence, left, right }) {
  const span = document.createElement("span"), letter = document.createElement("b");
  span.style.left = `${100 * left}%`;
  span.style.width = `${100 * (right - left)}%`;
  span.title = `${character} ${percent(confidence)}`;
  span.classList.toggle("unsure", confidence < UNSURE);
  letter.textContent = character;
  span.append(letter);
  return span;
}

function show(made, word) {
  made.querySelector("output").textContent = word.text || "(nothing)";
  made.querySelector(".sure").textContent = percent(word.confidence);
  made.querySelector(".marks").replaceChildren(...word.characters.map(mark));
  const others = word.alternatives.map(({ text }) => text || "(nothing)");  // their shares are not calibrated as it is
  made.querySelector(".others").textContent = others.length ? `or ${others.join(", ")}` : "";
}

async function ask(file) {
  for (let tries = 0; ; tries++) {
    const form = new FormData();
    form.append("images", file);
    const response = await fetch("recognise?alternatives=3", { method: "POST", body: form });
    if (response.status !== 503 || tries === PATIENCE) return response;
    await rest(Number(response.headers.get("Retry-After")) || 1);
  }
}

async function read({ file, made }) {
  try {
    const response = await ask(file), content = await response.json();
    if (!response.ok) throw new Error(content.detail);
    show(made, content.results[0]);
  } catch (error) {
    made.classList.add("wrong");
    made.querySelector("output").textContent = error.message;
  }
}

async function readAll(chosen) {
  const cards = [...chosen].map(file => ({ file, made: card(file) })), all = cards.length, queue = [...cards];
  const hand = async () => { for (let one; (one = queue.shift()); ) await read(one); };
  said.textContent = `reading ${all} …`;
  await Promise.all(Array.from({ length: TOGETHER }, hand));
  const not = cards.filter(({ made }) => made.classList.contains("wrong")).length;
  said.textContent = not ? `${all - not} read, ${not} not` : `${all} read`;
}

files.onchange = () => { readAll([...files.files]); files.value = ""; };
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") readAll(event.dataTransfer.files);
  });
}
document.onpaste = event => readAll(event.clipboardData.files);
