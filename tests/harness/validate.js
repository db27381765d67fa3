// Validates xAPI statements with Learning Locker's validator, Caliper envelopes with IMS's own library of Caliper 1.1.
//
// node validate.js xapi|caliper: reads a JSON array from standard input, writes for each of its elements the array of
// what is wrong with it: [where, what], where as a path such as "object.id".
"use strict";

const fs = require("fs");

const pathOf = (parts) =>
  parts.reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path ? `${path}.${part}` : part), "");

function xapi(statement) {
  const { default: warnings } = require("@learninglocker/xapi-validation");
  return warnings(statement).map((warning) => [pathOf(warning.path.slice(1)), warning.typeName || warning.constructor.name]);
}

function caliper(envelope) {
  const library = require("ims-caliper");
  const iris = require("uri-js");
  const found = [];
  const check = (right, parts, what) => right || found.push([pathOf(parts), what]);
  const terms = (vocabulary) => Object.values(vocabulary).map(({ term }) => term);
  const known = (type) => library[type] || {};
  const create = (factory, type, values, parts) => {
    try {
      factory().create(known(type), { ...values });
    } catch (error) {
      check(false, parts, error.message);
    }
  };

  function entity(values, parts) {
    const isTerm = terms(library.EntityType).includes(values.type);
    check(isTerm, [...parts, "type"], "not a term of Caliper");
    create(library.EntityFactory, values.type, values, parts);
    const iri = iris.parse(String(values.id));
    check(iri.scheme && !iri.error, [...parts, "id"], "not an IRI");
    if (isTerm) fields(values, parts);
  }

  function fields(values, parts) {
    for (const [name, value] of Object.entries(values)) {
      check(name in known(values.type), [...parts, name], "unknown field");
      if (value && typeof value === "object" && "type" in value) entity(value, [...parts, name]);
    }
    for (const [name, value] of Object.entries(values.extensions || {}))
      if (value && typeof value === "object" && "type" in value) entity(value, [...parts, "extensions", name]);
  }

  for (const name of new Set([...Object.keys(envelope), ...Object.keys(library.Envelope)]))
    check(name in envelope && name in library.Envelope, [name], "missing or unknown field");
  check(library.Validator.isISO8601(envelope.sendTime), ["sendTime"], "not a time");
  envelope.data.forEach((event, number) => {
    const at = ["data", String(number)];
    check(terms(library.EventType).includes(event.type), [...at, "type"], "not a term of Caliper");
    create(library.EventFactory, event.type, event, at);
    check(library.Validator.hasCaliperContext(event), [...at, "@context"], "not the context of Caliper");
    check(library.Validator.hasUuidUrn(event), [...at, "id"], "not a UUID");
    check(library.Validator.isISO8601(event.eventTime), [...at, "eventTime"], "not a time");
    const action = Object.values(library.Actions).find(({ term }) => term === event.action);
    check(action, [...at, "action"], "not a term of Caliper");
    const subtypes = action ? action.events.map((name) => name[0].toUpperCase() + name.slice(1)) : [event.type];
    check(subtypes.includes(event.type), [...at, "action"], `not an action of ${event.type}`);
    fields(event, at);
  });
  return found;
}

const validate = { xapi, caliper }[process.argv[2]];
process.stdout.write(JSON.stringify(JSON.parse(fs.readFileSync(0, "utf8")).map(validate)));
