// What an answer cites, as sentences: the row of a table becomes "column: value". Next: page.js.

const RULE = /^\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?$/;
const BAR = /(?<!\\)\|/;

// The citations in their order, each with the lines to show. A cited table header names the columns and is not shown.
// `text` is the answer, which holds "column: value" for each row that it quotes: that tells a header from a row.
export function linesOf(citations, text) {
  const headers = new Map();
  const rows = citations.map((citation) => rowsOf(citation.quote));
  return citations.flatMap((citation, index) => {
    const later = rows.slice(index).flatMap((lines, n) =>
      (citations[index + n].document_id === citation.document_id ? lines : []));
    const lines = rows[index].flatMap((line) => {
      if (!line.cells) return [line.quote];
      if (line.isHeader || names(line.cells, later, text)) {
        headers.set(citation.document_id, line.cells);
        return [];
      }
      return [sentence(headers.get(citation.document_id), line.cells)];
    });
    return lines.length ? [{ citation, lines }] : [];
  });
}

// A line of a document without the marks of Markdown at its beginning and around its words.
export const plainLine = (line) => line.replace(/^(?:#{1,6}|[-*+]|>)\s+/, "").replace(/(\*\*|__|`)(.+?)\1/g, "$2");

// The lines of a quote: rows of a table with their cells, anything else as it stands. The rule under a header is no line.
function rowsOf(quote) {
  const lines = quote.split("\n").map((line) => line.trim());
  const isTable = (line) => line !== undefined && BAR.test(line);
  return lines.flatMap((line, index) => {
    if (RULE.test(line) && isTable(line)) return [];
    if (!isTable(line)) return line ? [{ quote: line }] : [];
    return [{ cells: cellsOf(line), isHeader: isTable(lines[index + 1]) && RULE.test(lines[index + 1]) }];
  });
}

const cellsOf = (line) => line.replace(/^\||(?<!\\)\|$/g, "").split(BAR).map((cell) => cell.replaceAll("\\|", "|").trim());

// Whether these cells name the columns of a later row, as the answer says them: "first – column: value; column: value".
const names = (header, rows, text) => rows.some(({ cells }) => {
  if (!cells || cells === header) return false;
  const named = cells.map((cell, column) => (header[column] && cell ? `${header[column]}: ${cell}` : cell));
  const isNamed = named.some((words, column) => column > 0 && words !== cells[column] && text.includes(words));
  return isNamed || text.includes(`${cells[0]} – ${named.slice(1).filter(Boolean).join("; ")}`);
});

function sentence(header, cells) {
  const parts = cells.map((cell, column) => (header?.[column] && cell ? `${header[column]}: ${cell}` : cell));
  const words = parts.filter(Boolean).join(header ? "; " : ", ");
  return /[.!?…]$/.test(words) ? words : `${words}.`;
}
