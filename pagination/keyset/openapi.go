package keyset

import (
	"maps"

	"github.com/mainstay-go/mainstay/pagination"
)

// OpenAPIParameters returns the query parameters of a keyset list.
func (k *Keyset[T]) OpenAPIParameters() []pagination.Schema {
	params := []pagination.Schema{queryParameter(k.cursorParam, "The pagination cursor value.", "string")}
	if k.sizeParam != "" {
		params = append(params, queryParameter(k.sizeParam, "Number of results to return per page.", "integer"))
	}
	if k.orderingParam != "" {
		params = append(params, queryParameter(k.orderingParam, "Which field to use when ordering the results.", "string"))
	}
	return params
}

// OpenAPIResponse returns the schema of a page. results is the schema of the results array,
// not of one element.
func (k *Keyset[T]) OpenAPIResponse(results pagination.Schema) pagination.Schema {
	at := "http://api.example.org/accounts/?" + k.cursorParam
	properties := pagination.Schema{
		"next":     linkSchema(at + "=cD00ODY%3D"),
		"previous": linkSchema(at + "=cj0xJnA9NDg3"),
		"results":  results,
	}
	if k.counted {
		maps.Copy(properties, k.count.OpenAPIProperties())
	}
	return pagination.Schema{"type": "object", "required": []string{"results"}, "properties": properties}
}

func linkSchema(example string) pagination.Schema {
	return pagination.Schema{"type": "string", "nullable": true, "format": "uri", "example": example}
}

func queryParameter(name, description, kind string) pagination.Schema {
	return pagination.Schema{"name": name, "required": false, "in": "query", "description": description, "schema": pagination.Schema{"type": kind}}
}
