package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/coinop/coinop/api/client"
)

//go:generate go run ./openapigen openapi.json

// humaConfig makes huma answer as the rest does: problems of ours, no links or schemas in bodies.
func (a *API) humaConfig() huma.Config {
	c := huma.DefaultConfig("coinop", "1")
	c.Info.Description = "A coin-operated cluster: put money in with the job. Amounts end in _micro (millionths of the " +
		"unit of account) or _units (whole coins). Every error is a problem document whose `do` says what you can do. " +
		"The mint lies under /mint/v1 and speaks the Cashu protocol (NUT-00 to 09, 12, 19, 20); " +
		"its melt method `job` pays for a job, whose request is the body of POST /v1/jobs without money, as text."
	c.DocsPath, c.SchemasPath = "", ""
	c.OpenAPIPath = "/openapi"
	c.CreateHooks = nil
	c.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	c.DefaultFormat = "application/json"
	c.Transformers = []huma.Transformer{a.ownProblem}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"key":   {Type: "http", Scheme: "bearer", Description: "a key of a job, a pot or a refund: 64 hex digits"},
		"token": {Type: "apiKey", In: "header", Name: client.HeaderToken, Description: "an operator's or a submitter's token"},
	}
	return c
}

// ownProblem turns what huma says of a request's form into a problem of ours.
func (a *API) ownProblem(ctx huma.Context, status string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	n, err := strconv.Atoi(status)
	if err != nil {
		n = model.Status
	}
	code := codeBug
	switch {
	case n == http.StatusRequestEntityTooLarge, n == http.StatusInternalServerError && model.Detail == "cannot read request body":
		n, code = http.StatusRequestEntityTooLarge, codeTooLarge // see answerWriter
	case n < 500:
		code = codeBody
	}
	p := fail(code, "%s", model.Detail)
	p.Status, p.Title = n, http.StatusText(n)
	for _, e := range model.Errors {
		p.Fields = append(p.Fields, client.Field{Location: e.Location, Message: e.Message})
	}
	return p, nil
}

// operation describes a route that huma serves.
func operation(id, method, path, tag, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Tags: []string{tag}, Summary: summary, MaxBodyBytes: -1,
		Security: []map[string][]string{{}, {"key": {}}, {"token": {}}},
	}
}

// document describes a route that huma does not serve, by the same types that its handler reads and writes.
func (a *API) document(op huma.Operation, request any, status int, answer any) {
	registry := a.huma.OpenAPI().Components.Schemas
	content := func(v any, kind string) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{kind: {Schema: registry.Schema(reflect.TypeOf(v), true, op.OperationID)}}
	}
	if request != nil {
		kind := "application/json"
		if _, raw := request.([]byte); raw {
			kind = "application/octet-stream"
		}
		op.RequestBody = &huma.RequestBody{Required: true, Content: content(request, kind)}
	}
	response := &huma.Response{Description: http.StatusText(status)}
	switch answer.(type) {
	case nil:
	case []byte:
		response.Content = map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}
	case client.LogChunk, client.Event:
		response.Content = content(answer, "application/x-ndjson")
	default:
		response.Content = content(answer, "application/json")
	}
	op.Responses = map[string]*huma.Response{strconv.Itoa(status): response}
	op.Security = []map[string][]string{{}, {"key": {}}, {"token": {}}}
	a.huma.OpenAPI().AddOperation(&op)
}

// finishDocument gives every operation the one form of its errors.
func (a *API) finishDocument() {
	doc := a.huma.OpenAPI()
	schema := doc.Components.Schemas.Schema(reflect.TypeOf(client.Problem{}), true, "problem")
	problem := &huma.Response{
		Description: "Error", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema}},
	}
	for _, path := range doc.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Put, path.Post, path.Delete, path.Head} {
			if op != nil {
				op.Responses["default"] = problem
			}
		}
	}
	delete(doc.Components.Schemas.Map(), "ErrorModel")
	delete(doc.Components.Schemas.Map(), "ErrorDetail")
}

// Document is the interface described as OpenAPI 3.1.
func (a *API) Document() ([]byte, error) {
	raw, err := json.MarshalIndent(a.huma.OpenAPI(), "", "  ")
	if err != nil {
		return nil, err
	}
	return append(raw, '\n'), nil
}

func headerParam(name, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: "string"}}
}

func queryParam(name, kind, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: kind}}
}

func pathParam(name, kind string) *huma.Param {
	return &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: kind}}
}
